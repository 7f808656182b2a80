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
  archive had come past it (`gone with Redis`).
- **A live reader** from the start of a log: every event of the final log, once, ids rising. It
  may have seen others besides: stream-first ones that Redis lost before they were archived
  (`seen and gone`). Transactional events are never given twice to a reader that stays connected,
  and are seen in the order of commits.
- **A reader that connects anew by its cursor** is owed the same. But what it saw before Redis was
  rolled back, and was not archived yet, has a new id since, after its cursor: such events are
  counted as `seen again`. So they are for who polls history by cursor: each page is a new
  connection.
"""
