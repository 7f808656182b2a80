"""Notes of the processes of the soak test: lines of JSON, one file per process.

A line is written by one `write`, which survives SIGKILL: the file of a killed process is complete.
Times are of the monotonic clock, which all processes share.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

Note = dict[str, Any]

# A file next to the notes: while it exists, nothing is written.
PAUSE = "pause"


class Notes:
    """An append-only file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, **note: Any) -> None:
        os.write(self._file, json.dumps({**note, "at": monotonic()}).encode() + b"\n")


def read_notes(path: Path) -> Iterator[Note]:
    for line in path.read_bytes().splitlines():
        yield json.loads(line)
