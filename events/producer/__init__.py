"""Idempotent appends: each event carries (producer id, epoch, sequence number).

    batch      producer state, appends of callers, and numbered batches; no I/O
    sender     concurrent appends of one client, sent as few batches
    external   producers that callers identify: external programs and idempotency keys

Imports `events.streams` and the leaf modules of `events`.
"""

from events.producer.external import publish_sequenced

__all__ = ["publish_sequenced"]
