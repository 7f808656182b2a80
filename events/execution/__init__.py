"""Task runs: the state of one execution of a task, and its heartbeat.

    run              `TaskRun`, `current_run` and the protocol of run trackers
    adapter          base class of queue adapters
    heartbeat        the thread that sends the heartbeats of a worker
    stream_tracker   run tracker of projects without `jobs`

Imports `events.publisher`, `events.processor` and the packages below them.
"""
