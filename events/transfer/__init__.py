"""Moving logs between files and jobs.

    export          pages of whole logs; CSV
    ndjson          NDJSON: one event per line
    republish       publishes recorded events again
    pubsub_bridge   appends what old publishers send to Pub/Sub

Imports `events.publisher`, `events.history` and the packages below them.
"""
