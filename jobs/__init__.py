"""Jobs: the units of work that users request, their state, and the interfaces that show them.

models, services, selectors, signals, transitions, inputs
                the Job model, and the functions that write and read it
projection      updates job rows from the event log
conf, checks    the setting JOB_EVENTS, and its system checks
execution/      task runs, dispatch to workers, the reaper
access/         sessions, tickets, throttling
live/           WebSocket consumers
api/            the REST API
pages/          HTML pages
tasks, writing/ the two Celery tasks that generate an outline and a document

Imports from `events` only; exports nothing itself.
"""
