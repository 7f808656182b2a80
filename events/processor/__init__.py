"""The process behind `manage.py process_events`.

    processor     one process: loops, heartbeat, health log, signals
    loop          one loop: repeats a step in a thread, retries after errors
    steps         registry of the steps, one loop each
    single_pass   `--once`: all steps until none finds work
    lag           archive lag: streams behind, age of the oldest entry
    status        running processors, outbox, archive lag, stalled logs
    status_text   the status as text and JSON

Imports `events.outbox`, `events.archive`, `events.streams` and the leaf modules of `events`.
"""

from events.processor.status import LogStatus, get_status, is_running
from events.processor.steps import register_step

__all__ = ["LogStatus", "get_status", "is_running", "register_step"]
