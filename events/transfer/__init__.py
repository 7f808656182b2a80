"""Moving logs between files and jobs.

    export      CSV and NDJSON
    ndjson      one event per line
    republish   publishing recorded events again

Imports `events.publisher`, `events.history` and the packages below them.
"""
