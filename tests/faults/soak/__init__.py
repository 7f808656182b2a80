"""Soak test: a whole site runs under random faults, and no event may be lost or duplicated.

`python -m tests.faults.soak --seed N --events 25000 --faults 100 --database sqlite|postgres`

Writers commit transactions, by the services of jobs and by the outbox; one in ten is rolled back,
others are rolled back to a savepoint. Publishers publish stream-first. Two `process_events` and a
uvicorn run, and readers read, while the seed selects faults. Afterwards the site runs until it is
idle. Then the committed events are compared with the log and with the events that each reader
received. Each event has a unique name.

Guarantees:

- **A commit** that returned is in the log. Each of its events is there once, in the order of the
  sequence numbers of the outbox, and after the events of transactions that ended before it began.
  Rolled back events are never in the log. If a writer does not know the outcome of a commit, the
  rows of the outbox contain all of its events or none, and so does the log.
- **A stream-first event** that was acknowledged is in the log once, unless Redis lost it before it
  was archived: by a wipe, a deleted stream, or a rollback to a snapshot older than the event. Such
  events are counted separately, and an `events_lost` event of the log reports their gap.
- **Each reader** has the events that history returns since its last reset: the same ids in the same
  order. Readers are `follow` with one connection from start to end, `follow` that resumes after it
  is killed, SSE and WebSocket that disconnect repeatedly, and pages of history by cursor. Between
  two resets, no event is received twice.
"""
