"""Completion: when a log ends, and its subscribers receive `End`."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from events.live.topic import Completion, Topic
from events.log_format import log_failure

logger = logging.getLogger(__name__)


class CompletionQueries:
    """Queries in batches which jobs are finished, and calls `finished` with their topics."""

    def __init__(self, finished: Callable[[Topic], None]) -> None:
        self._finished = finished
        self._due: dict[Completion, set[Topic]] = {}
        self._is_due = asyncio.Event()

    def add_if_terminal(self, topic: Topic) -> None:
        """Query the topic's job soon if its last event may be the last of all."""
        completion, last = topic.completion, topic.last
        if completion is not None and last is not None and completion.is_terminal(last):
            self._add(topic, completion)

    def add_quiet(self, topics: Iterable[Topic], since: float) -> None:
        """Query the jobs without events since then."""
        for topic in topics:
            if topic.completion is not None and topic.last_event_at < since:
                self._add(topic, topic.completion)

    def _add(self, topic: Topic, completion: Completion) -> None:
        self._due.setdefault(completion, set()).add(topic)
        self._is_due.set()

    async def run(self) -> None:
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            due, self._due = self._due, {}
            for completion, topics in due.items():
                if read := [each for each in topics if each.is_verified and not each.is_done]:
                    await self._query(completion, read)

    async def _query(self, completion: Completion, topics: list[Topic]) -> None:
        last = {topic.job_id: topic.last for topic in topics}
        try:
            job_ids = await completion.completed(last)
        except Exception as error:  # noqa: BLE001 - the next query follows in a few seconds
            log_failure(logger, "completion_query_failed", error)
            return
        for topic in topics:
            if topic.job_id in job_ids and topic.last is last[topic.job_id]:
                self._finished(topic)
