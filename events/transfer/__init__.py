"""Moving logs between files and jobs.

    export      pages of whole logs; CSV
    ndjson      NDJSON: one event per line
    republish   publishes recorded events again

Imports `events.publisher`, `events.history` and the packages below them.
"""
