"""Registry of the modules with checks, which are imported when the command runs.

An app appends its module, with a tuple `CHECKS`, in `AppConfig.ready`.
"""

from typing import Final

modules: Final = [
    f"{__package__}.{name}"
    for name in (
        "database", "server", "topology", "project", "processing", "keys", "round_trip",
    )
]  # fmt: skip
