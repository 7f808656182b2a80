"""The SQL tier of the log: storing, querying and maintaining archived events.

    store        inserts batches; archive checkpoints; errors of stalled logs
    reader       pages and single ids of archived events
    archiver     copies streams to the archive
    maintenance  trims and expires archived streams
    repair       repairs streams that were rewound
    ownership    claims the streams for one archive
    losses       records what Redis lost before it was archived
    retention    deletes old events
    importer     imports exported logs
    projections  registry of the projections that follow the logs
    terms        tokenizer
    filters      event filters
    lookups      event filters in SQL

Imports `events.streams` and the leaf modules of `events`.
"""

from events.archive.filters import MAX_CONDITIONS, EventFilter
from events.archive.projections import Projection, projections

__all__ = ["MAX_CONDITIONS", "EventFilter", "Projection", "projections"]
