"""Processes with a wrong wall clock, by libfaketime; their monotonic clock is right."""

import glob
import os
from pathlib import Path

_FOUND = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
LIBRARY = _FOUND[0] if _FOUND else None
_SITE = Path(__file__).parent / "faketime"


class SkewedClock:
    """The wall clock of processes started with `environment`, as an offset such as "+1d"."""

    def __init__(self, directory: Path, offset: str) -> None:
        self._file = directory / f"clock{offset}"
        self.set(offset)

    def set(self, offset: str) -> None:
        """Let the clock jump, also in running processes."""
        new = self._file.with_suffix(".new")
        new.write_text(offset)
        new.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": LIBRARY or "",
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": os.pathsep.join([str(_SITE), *filter(None, [os.getenv("PYTHONPATH")])]),
        }
