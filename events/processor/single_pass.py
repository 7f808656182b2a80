"""A single pass over all pending work: `manage.py process_events --once`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from events.processor.lag import archive_lag
from events.processor.loop import IDLE_SECONDS, Step
from events.processor.status import outbox_status, stalled_checkpoints, stalled_logs

# The relay leaves an event to the process that committed it for one second.
_RELAY_DELAY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass did, by step; `idle` is False if it ended with work left to do."""

    counts: Counter[str]
    idle: bool
    seconds: float


def run_single_pass(steps: Mapping[str, Step], *, timeout: float) -> PassResult:
    """Run all steps in turn until none finds work; start no further round after `timeout` seconds.

    Waits up to two seconds for events of the outbox that the relay may not append yet. Raises what
    the steps raise: EventsError, django.db.Error.
    """
    counts = Counter(dict.fromkeys(steps, 0))
    start = monotonic()
    while True:
        done = {name: step() for name, step in steps.items()}
        counts.update(done)
        seconds = monotonic() - start
        idle = not any(done.values())
        if seconds >= timeout or (idle and not _outbox_delayed(seconds)):
            return PassResult(counts, idle, seconds)
        if idle:
            sleep(IDLE_SECONDS)


def _outbox_delayed(seconds: float) -> bool:
    """Whether the outbox has events from before the pass that the relay may not append yet."""
    return seconds < _RELAY_DELAY_SECONDS and (outbox_status().oldest_age or 0) > seconds


def pending_work(result: PassResult) -> str:
    """What is left after a pass, as a sentence for the operator; empty if nothing."""
    stalled = stalled_logs()
    if stalled:
        more = f" (the first of {stalled_checkpoints().count()})" if len(stalled) > 1 else ""
        return f"The log of job {stalled[0].job_id}{more} is stalled: {stalled[0].error}"
    if not result.idle:
        return "There is more work: run the command again, or with a longer --timeout."
    if (outbox_status().oldest_age or 0) > result.seconds:
        return "The outbox has events that could not be appended. Was Redis unavailable?"
    if (archive_lag().oldest_age or 0) > result.seconds:
        return "Some events are not archived: their job is locked. Run the command again."
    return ""
