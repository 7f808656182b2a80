"""What each process of the soak writes down, one line after another, in a file of its own.

A line is written whole, by one `write` that outlives the process: who is killed has noted all that
it did, or is just doing. Times are of the monotonic clock, which all processes share.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

Note = dict[str, Any]


class Notes:
    """A file that only grows."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, **note: Any) -> None:
        os.write(self._file, json.dumps({**note, "at": monotonic()}).encode() + b"\n")


def read_notes(path: Path) -> Iterator[Note]:
    for line in path.read_bytes().splitlines():
        yield json.loads(line)
