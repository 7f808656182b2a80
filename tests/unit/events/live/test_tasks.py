"""Tasks that end together."""

import asyncio

import pytest

from events.live.tasks import Tasks


async def forever():
    await asyncio.Event().wait()


async def test_first_failure_ends_the_others_and_is_raised():
    tasks, ended = Tasks(), asyncio.Event()

    async def until_cancelled():
        try:
            await forever()
        finally:
            ended.set()
            raise OSError("closing failed, too")

    async def fail():
        raise ValueError("the cause")

    tasks.add(until_cancelled())
    tasks.add(fail())
    with pytest.raises(ValueError, match="the cause"):
        await tasks.wait()
    assert ended.is_set()


async def test_end_of_a_task_ends_the_others():
    tasks = Tasks()
    tasks.add(forever())
    tasks.add(asyncio.sleep(0))
    await tasks.wait()


async def test_cancellation_is_raised_although_a_task_fails_meanwhile():
    tasks = Tasks()

    async def report_lost_connection():
        try:
            await forever()
        except asyncio.CancelledError:
            raise OSError("connection lost") from None

    tasks.add(report_lost_connection())
    tasks.add(forever())
    waiting = asyncio.create_task(tasks.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_task_that_loses_cancellations_is_cancelled_again(monkeypatch):
    monkeypatch.setattr("events.live.tasks._CANCEL_AGAIN_SECONDS", 0.01)
    tasks, lost, late = Tasks(), [], asyncio.Event()

    async def end_late():
        try:
            await forever()
        finally:
            late.set()

    async def lose_two():
        while len(lost) < 2:
            try:
                await forever()
            except asyncio.CancelledError:
                lost.append(1)
                tasks.add(end_late())
        await forever()

    tasks.add(lose_two())
    waiting = asyncio.create_task(tasks.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(lost) == 2
    assert len(asyncio.all_tasks()) == 1  # this one: tasks added meanwhile have ended, too
