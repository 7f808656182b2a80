"""Read-only admin of the log.

`base` has the admin classes that this package and `jobs.admin` share, `cells` the HTML of times,
states and JSON, `health` the page "Health" with the processors, `cards` its cards, `logs` the logs.
"""

from events.admin.health import ProcessorAdmin
from events.admin.logs import EventLogAdmin

__all__ = ["EventLogAdmin", "ProcessorAdmin"]
