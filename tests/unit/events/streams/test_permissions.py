"""The commands whose permissions `manage.py doctor` checks."""

import json
import re

from events.streams import scripts
from events.streams.keys import StreamKeys
from events.streams.permissions import denied_of, permissions
from tests.support.site import ROOT

KEYS = StreamKeys("job_events:").pair("abc")
# Words in tuples that are no commands, and a command that no ACL forbids.
OTHERS = {
    "NFKC", "STREAMS", "STALEEPOCH", "OUTOFORDER", "UNBLOCKED", "HELLO", "INSERT", "DELETE",
}  # fmt: skip


def checked():
    command = permissions(KEYS)
    assert command[:2] == ("EVALSHA", scripts.PERMISSIONS.sha)
    return {call[0]: call for call in json.loads(command[-1])}


def sources(pattern):
    # Without PUBLISH, events are appended and not mirrored; `bridge_pubsub` needs Pub/Sub.
    own = ("events/doctor", "events/testing", "permissions", "streams/pubsub", "lua/mirror")
    for path in sorted((ROOT / "events").rglob(pattern)):
        if not any(part in str(path) for part in own):
            yield path.read_text()


def test_commands_of_all_scripts_are_checked():
    used = {name for lua in sources("*.lua") for name in re.findall(r"call\('(\w+)'", lua)}
    assert len(used) > 15
    assert used <= set(checked())


def test_commands_of_the_package_are_checked():
    used = {
        name
        for code in sources("*.py")
        for name in re.findall(r"(?<!\w)[(\[]\"([A-Z]{3,})\"[,)]", code)
    }
    assert {"XREAD", "XRANGE", "SCAN", "TIME", "EVALSHA"} <= used
    assert used - OTHERS <= set(checked())


def test_keys_are_those_of_a_job():
    keys = {word for call in checked().values() for word in call if "abc" in word}
    assert keys == {*KEYS, "{job_events:abc}:producers:watched"}


def test_refused_commands():
    assert denied_of([b"XADD", b"INFO", b"DEL"]) == (["DEL", "XADD"], ["INFO"])
    assert denied_of([]) == ([], [])
