"""The SQL tier of the log: storing, querying and maintaining archived events.

    store         inserting batches, archive checkpoints, and pages of archived events
    archiver      copies streams to the archive
    maintenance   trims and expires archived streams, and repairs streams that were rewound
    retention     deletes old events
    importer      restores exported logs
    projections   registry of the projections that follow the log
    filters       event filters and search terms
    lookups       SQL lookups for search terms

Imports `events.streams` and the leaf modules of `events`.
"""
