"""The checks of `manage.py doctor`.

    findings    Finding: what a check has found, and what to do
    checks      Check, and the examination that runs all checks
    modules     the registry of modules with checks
    server      Redis: version, persistence, memory, access, clock, latency
    topology    Redis: one server, replicas, Sentinel, cluster
    database    connection, migrations, settings, writes
    project     system checks, the ASGI application, static files
    processing  processors, lag, stalled logs, lost events
    keys        streams without a log, keys of others, consumer groups
    key_scan    the keys under our prefix
    round_trip  publish, archive, read
    responses   HTTP responses, and the time until their first byte
    report      the findings as text and as JSON

Imports `events.live`, `events.processor`, `events.erasure`, `events.history`, `events.publisher`,
`events.streams` and the leaf modules of `events`.
"""
