"""The soak: everything at once, everything dies, and in the end nothing is missing.

`python -m tests.faults.soak --seed N --events 25000 --faults 100 --database sqlite|postgres`

Writers commit transactions (jobs' services, and the outbox in transactions of their own, one in
ten rolled back, others to a savepoint), publishers publish stream-first, two `process_events` and
a uvicorn run, and readers read, while faults are done that a seed chooses. Then all are let run
until nothing waits, and what was committed is compared with what the log holds and with what each
reader saw, event by event; each has a name of its own.

What is owed:

- **A commit** that returned is in the log, each event once, in the order of the outbox's numbers;
  what had ended before another transaction began stands before it. Rolled back: never. A commit
  whose outcome its writer could not know is in the database's own rows entirely, or not at all,
  and in the log just as it is there.
- **A stream-first event** that was acknowledged is in the log once, unless Redis itself lost it:
  wiped, rolled back to a snapshot older than the event, its stream deleted, and that before the
  archive had it. Such events are counted separately.
- **Every reader** has what history returns since its last reset: the same ids, the same order.
  Readers are `follow` over one connection from start to end, `follow` that resumes after it is
  killed, SSE and WebSocket that disconnect from time to time, and pages of history by cursor.
  Between two resets, no event is received twice.
"""
