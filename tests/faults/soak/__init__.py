"""Soak test: a whole site runs under random faults, and no event may be lost or duplicated.

`python -m tests.faults.soak --seed N --minutes 10 --database sqlite|postgres`

Writers commit bursts of transactions, by the services of jobs and by the outbox; one in ten is
rolled back, others are rolled back to a savepoint. Publishers publish stream-first. Two
`process_events` and a uvicorn run, readers read, and clients that never read stay connected, while
the seed selects faults. At checkpoints there are no faults for some seconds, and all clients are
connected. Afterwards the site runs until it is idle. Then the committed events are compared with
the log and with the events that each reader received. Each event has a unique name.

Faults, each in a random state of all processes:

- kill -9: a writer, publisher, reader, processor, Redis, PostgreSQL or one of its backends;
- SIGSTOP: a writer, processor, reader, the web server, Redis, PostgreSQL (or a lock on SQLite);
- connections: all of Redis or of PostgreSQL are closed, the scripts of Redis are removed;
- space: Redis has no or little memory left, the disk of Redis or of the database is full;
- loss: Redis is emptied, loses a stream, or restarts with the data of an earlier time;
- clocks: those of half of the writers, publishers and processors are a day ahead or behind, and
  jump. Only on PostgreSQL: processes that share an SQLite database have one clock.

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
  is killed, SSE and WebSocket that disconnect repeatedly, long-polls, and pages of history by
  cursor. Between two resets, no event is received twice.
- **Each process** that no fault kills has the same memory and number of connections at all
  checkpoints after the first, within 5 %.
"""
