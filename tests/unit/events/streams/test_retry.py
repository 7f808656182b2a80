"""Sending commands with retry, by the sync and the async driver."""

import asyncio
from contextlib import suppress

import pytest
from redis import exceptions

from events.exceptions import NotAStream, RedisNotWritable, RedisOutOfMemory, RedisUnavailable
from events.streams import retry, scripts
from events.streams.retry import SlotMoved, asend_commands, asend_once, send_commands

NO_SCRIPT = exceptions.NoScriptError()
OOM = exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
REFUSED = exceptions.ResponseError("MISCONF errors writing to the AOF file")
LOST = exceptions.ConnectionError("lost")
PING = ("PING",)
SCRIPT = scripts.TRIM.call(("a", "b"), ("1-0",))


class Connection:
    """Fake connection: returns or raises prepared replies, and records its calls."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.log = []

    def pack_command(self):
        raise NotImplementedError

    def connect(self):
        assert self.log[-1] == "disconnect"

    def send_packed_command(self, packed, check_health):
        assert check_health is False
        self.log.append("EVAL" if b"\r\nEVAL\r\n" in packed[0] else "send")

    def read_response(self, disable_decoding):
        assert disable_decoding
        self.log.append("read")
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def disconnect(self, nowait=False):
        if self.log[-1] != "disconnect":
            self.log.append("disconnect")


class AsyncConnection(Connection):
    async def connect(self):
        super().connect()

    async def send_packed_command(self, *arguments):
        super().send_packed_command(*arguments)

    async def read_response(self, disable_decoding):
        return super().read_response(disable_decoding)

    async def disconnect(self, nowait=False):
        super().disconnect()


@pytest.fixture(params=["sync", "async"])
def drive(request, monkeypatch):
    """Send commands on a connection with these replies; return its log, the outcome and pauses."""
    pauses = []
    monkeypatch.setattr(retry, "sleep", pauses.append)

    async def pause(seconds):
        pauses.append(seconds)

    def run(replies, *commands):
        connection = Connection(*replies) if request.param == "sync" else AsyncConnection(*replies)
        pauses.clear()
        try:
            if request.param == "sync":
                outcome = send_commands(connection, *commands)
            else:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(asyncio, "sleep", pause)
                    outcome = asyncio.run(asend_commands(connection, *commands))
        except RedisUnavailable as error:
            outcome = error
        return connection.log, outcome, list(pauses)

    return run


def test_all_commands_are_sent_before_a_reply_is_read(drive):
    assert drive([b"1", b"2"], PING, PING) == (["send", "read", "read"], [b"1", b"2"], [])


def test_error_reply_is_in_the_list(drive):
    wrong = exceptions.ResponseError("WRONGTYPE Operation against a key")
    _, replies, _ = drive([wrong, b"2", OOM, REFUSED], PING, PING, PING, PING)
    expected = [NotAStream, bytes, RedisOutOfMemory, RedisNotWritable]
    assert [type(reply) for reply in replies] == expected


def test_lost_connection_sends_all_commands_again(drive):
    log, replies, pauses = drive([b"1", LOST, b"1", b"2"], PING, PING)
    attempt = ["send", "read", "read"]
    assert (log, replies) == ([*attempt, "disconnect", *attempt], [b"1", b"2"])
    assert pauses == [retry.RETRY_DELAYS_SECONDS[0]]


def test_last_attempt_is_not_followed_by_a_pause(drive):
    log, error, pauses = drive([LOST] * 4, PING)
    assert log == ["send", "read", "disconnect"] * 4
    assert pauses == list(retry.RETRY_DELAYS_SECONDS[:-1])
    assert str(error) == "Redis did not answer: lost"


def test_no_retry_after_the_timeout(drive, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_TIMEOUT": 0}
    log, error, _ = drive([LOST], PING)
    assert log == ["send", "read", "disconnect"]
    assert isinstance(error, RedisUnavailable)


def test_client_error_of_redis_py_is_not_retried(drive):
    log, error, _ = drive([exceptions.DataError("not a command")], PING)
    assert log == ["send", "read", "disconnect"]
    assert "not a command" in str(error)


def test_source_of_a_missing_script_is_sent(drive):
    log, replies, _ = drive([NO_SCRIPT, b"1", b"2"], SCRIPT, PING)
    assert log == ["send", "read", "read", "EVAL", "read"]
    assert replies == [b"2", b"1"]
    _, replies, _ = drive([NO_SCRIPT, OOM], SCRIPT)
    assert isinstance(replies[0], RedisOutOfMemory)


def test_error_reply_after_a_lost_attempt_is_unavailable(drive):
    """The outcome is unknown: Redis may have run the lost attempt, or may run it later."""
    fenced = exceptions.ResponseError("WRONGTYPE Operation")
    for refused in (OOM, REFUSED):
        _, replies, _ = drive([LOST, refused, b"2", fenced], PING, PING, PING)
        assert [type(reply) for reply in replies] == [RedisUnavailable, bytes, NotAStream]


NODE_ERRORS = {
    "READONLY": exceptions.ReadOnlyError("You can't write against a read only replica."),
    "MASTERDOWN": exceptions.MasterDownError("Link with MASTER is down."),
    "CLUSTERDOWN": exceptions.ClusterDownError("The cluster is down"),
    "TRYAGAIN": exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    "LOADING": exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    "UNBLOCKED": exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"),
    "NOREPLICAS": exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    "BUSY": exceptions.ResponseError("BUSY Redis is busy running a script."),
    "MASTERDOWN as text": exceptions.ResponseError("MASTERDOWN Link with MASTER is down."),
}


@pytest.mark.parametrize("code", NODE_ERRORS)
def test_reply_of_a_node_that_cannot_run_commands_closes_the_connection(drive, code):
    log, replies, _ = drive([b"1", NODE_ERRORS[code], b"1", b"2"], PING, PING)
    attempt = ["send", "read", "read"]
    assert (log, replies) == ([*attempt, "disconnect", *attempt], [b"1", b"2"])
    _, error, _ = drive([NODE_ERRORS[code]] * 4, PING)
    assert isinstance(error, RedisUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.MovedError("7 127.0.0.1:7001"),
        exceptions.AskError("7 127.0.0.1:7001"),
        exceptions.ResponseError("MOVED 7 127.0.0.1:7001"),
    ],
)
def test_key_on_another_node_is_not_repeated(drive, error):
    log, replies, _ = drive([error], PING)
    assert log == ["send", "read"]
    assert isinstance(replies[0], SlotMoved)


def test_node_error_of_the_source_of_a_script_closes_the_connection(drive):
    log, replies, _ = drive([NO_SCRIPT, NODE_ERRORS["READONLY"], b"1"], SCRIPT)
    assert log == ["send", "read", "EVAL", "read", "disconnect", "send", "read"]
    assert replies == [b"1"]


class Interruption(BaseException):
    """Raised in place of a signal handler's exception."""


def test_interrupted_connection_is_closed():
    connection = Connection(Interruption())
    with pytest.raises(Interruption):
        send_commands(connection, PING)
    assert connection.log == ["send", "read", "disconnect"]


async def test_sending_once_raises_the_error_of_redis_py():
    connection = AsyncConnection(LOST)
    with pytest.raises(exceptions.ConnectionError):
        await asend_once(connection, [PING])
    assert connection.log == ["send", "read"]
    assert await asend_once(AsyncConnection(b"1"), [PING]) == [b"1"]


@pytest.mark.parametrize("send", [asend_commands, lambda c, *commands: asend_once(c, commands)])
async def test_swallowed_cancellation_is_raised(send):
    """redis-py on Python 3.11 swallows a cancellation at the end of a write."""

    class SwallowingConnection(AsyncConnection):
        async def send_packed_command(self, *arguments):
            asyncio.current_task().cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    connection = SwallowingConnection(b"1")
    task = asyncio.create_task(send(connection, PING))
    await asyncio.wait([task])
    assert task.cancelled()
    assert "read" not in connection.log


async def test_cancelled_task_sends_in_its_finally_block():

    async def publish():
        try:
            await asyncio.sleep(60)
        finally:
            assert await asend_commands(AsyncConnection(b"1"), PING) == [b"1"]

    task = asyncio.create_task(publish())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
