"""The commands whose permissions `manage.py doctor` checks."""

import json
import re

from events.streams import scripts
from events.streams.keys import StreamKeys
from events.streams.permissions import denied_of, permissions
from tests.support.site import ROOT

KEYS = StreamKeys("job_events:")
CHANNEL = "job:abc:events"
# Words in tuples that are no commands, and a command that no ACL forbids.
OTHERS = {
    "NFKC", "STREAMS", "STALEEPOCH", "OUTOFORDER", "UNBLOCKED", "HELLO", "INSERT", "DELETE",
}  # fmt: skip


def calls(channel=CHANNEL):
    command = permissions(KEYS, "abc", channel)
    assert command[:2] == ("EVALSHA", scripts.PERMISSIONS.sha)
    return json.loads(command[-1])


def checked():
    return {call[0] for call in calls()}


def sources(pattern):
    # `bridge_pubsub` subscribes when it starts.
    own = ("events/doctor", "events/testing", "permissions", "streams/pubsub")
    for path in sorted((ROOT / "events").rglob(pattern)):
        if not any(part in str(path) for part in own):
            yield path.read_text()


def test_commands_of_all_scripts_are_checked():
    used = {name for lua in sources("*.lua") for name in re.findall(r"call\('(\w+)'", lua)}
    assert len(used) > 15
    assert used <= checked()


def test_commands_of_the_package_are_checked():
    used = {
        name
        for code in sources("*.py")
        for name in re.findall(r"(?<!\w)[(\[]\"([A-Z]{3,})\"[,)]", code)
    }
    assert {"XREAD", "XRANGE", "SCAN", "TIME", "EVALSHA"} <= used
    assert used - OTHERS <= checked()


def test_keys_are_those_of_a_job():
    keys = {word for call in calls("") for word in call if "job_events" in word}
    assert keys == {*KEYS.pair("abc"), KEYS.watched("abc"), KEYS.owner}


def test_channel_is_checked_if_events_are_mirrored():
    assert ["PUBLISH", CHANNEL, "message"] in calls()
    assert "PUBLISH" not in {call[0] for call in calls("")}


def test_refused_commands():
    assert denied_of([b"XADD", b"INFO", b"DEL", b"XADD"]) == (["DEL", "XADD"], ["INFO"])
    assert denied_of([]) == ([], [])
