"""The process behind `manage.py process_events`.

    processor     runs the loops of one process
    steps         registry of the steps, one loop each
    loop          one loop: steps, pauses, errors
    status, lag   what is pending, stalled or late
    status_text   the same as text

Imports `events.outbox`, `events.archive`, `events.streams` and the leaf modules of `events`.
"""
