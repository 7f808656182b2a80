"""Composition of the Lua scripts from files."""

from importlib.resources import files

import pytest

from events.streams import scripts
from events.streams.scripts import Script

FOLDER = files("events.streams") / "lua"
SCRIPTS = {name: each for name, each in vars(scripts).items() if isinstance(each, Script)}


def source(name):
    return (FOLDER / f"{name}.lua").read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_consists_of_helpers_and_its_file(name):
    whole = SCRIPTS[name].source.removeprefix("#!lua flags=allow-oom\n")
    assert whole.startswith(source("helpers") + source(name.lower()))


def test_append_in_order_ends_with_append():
    own = source("helpers") + source("append_in_order")
    assert SCRIPTS["APPEND_IN_ORDER"].source == own + source("append")


def test_each_file_is_used():
    names = {path.name.removesuffix(".lua") for path in FOLDER.iterdir()}
    assert names == {"helpers", "mirror", *(name.lower() for name in SCRIPTS)}


@pytest.mark.parametrize("name", ["APPEND", "APPEND_IN_ORDER", "OUTBOX_APPEND"])
def test_mirrored_call_has_the_channel_as_its_last_argument(name):
    call = SCRIPTS[name].call(("stream", "state"), ("a", 1))
    assert scripts.mirrored(call, "") == call
    mirrored = scripts.mirrored(call, "channel")
    assert mirrored[2:] == (*call[2:], "channel")
    body = SCRIPTS[name].source.removeprefix(source("helpers"))
    assert scripts.with_source(mirrored)[1] == source("helpers") + source("mirror") + body


@pytest.mark.parametrize("name", SCRIPTS)
def test_call_can_be_sent_with_the_source(name):
    call = SCRIPTS[name].call(("stream", "state"), ("a", 1))
    assert call == ("EVALSHA", SCRIPTS[name].sha, 2, "stream", "state", "a", 1)
    assert scripts.with_source(call) == ("EVAL", SCRIPTS[name].source, *call[2:])


@pytest.mark.redis
def test_redis_computes_the_same_digest(redis_client):
    for script in SCRIPTS.values():
        assert redis_client.script_load(script.source) == script.sha
