"""Idempotent appends: each event carries (producer id, epoch, sequence number).

    batch      producer state and numbered batches; no I/O
    sender     concurrent appends of one client, sent as few batches
    external   producers that number their own events

Imports `events.streams` and the leaf modules of `events`.
"""
