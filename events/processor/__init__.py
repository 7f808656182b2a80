"""The process behind `manage.py process_events`.

    processor     one process: registered steps, loops, heartbeat, health log, signals
    loop          one loop: repeats a step in a thread, retries after errors
    single_pass   `--once`: all steps until none finds work
    lag           archive lag: streams behind, age of the oldest entry
    losses        reports of events that Redis lost
    status        running processors, database, Redis, outbox, archive lag, stalled logs, losses
    problems      what is wrong in a status, since when, and what to do
    health        the state of each part, with thresholds; items of other apps
    report        the status as text and JSON

Imports `events.erasure`, `events.outbox`, `events.archive`, `events.streams` and the leaf modules
of `events`.
"""

from events.processor.processor import register_step
from events.processor.status import LogStatus, get_status, is_running, processing_problem

__all__ = ["LogStatus", "get_status", "is_running", "processing_problem", "register_step"]
