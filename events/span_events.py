"""Events of a span that a publisher records: start, and end with its status. No I/O."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

from events.error_report import error_type, shortened_error
from events.json_values import to_json
from events.spans import current_span, new_span_id
from events.types import EventType

_ENVELOPE_BYTES: Final = 1024
# Exceptions that end a step without a fault, by class name: their packages may not be installed.
_CONTROL_FLOW: Final = {
    "CancelledError": "cancelled",
    "JobCancelled": "cancelled",
    "InputPending": "interrupted",
    "GraphInterrupt": "interrupted",
    "ParentCommand": "done",
}


def span_status(error: BaseException | None) -> str:
    """Return the status of a span whose body ended with this exception, or without one."""
    if error is None:
        return "done"
    for each in type(error).__mro__:
        if each.__name__ in _CONTROL_FLOW:
            return _CONTROL_FLOW[each.__name__]
    return "failed" if isinstance(error, Exception) else "cancelled"


class SpanEvents:
    """The two events of a span of a job. Its parent is the span that is current when it begins."""

    def __init__(self, job_id: str, name: str, data: Mapping[str, Any], max_bytes: int) -> None:
        self.run_id, self.is_started = new_span_id(), False
        self._parent_run_id = current_span(job_id)
        self._max_bytes = max_bytes - _ENVELOPE_BYTES
        self._name: str = to_json(str(name), max_bytes // 4)
        self._data = data
        self._started = perf_counter()

    def start(self) -> dict[str, Any]:
        """Return the event of the start, with the data converted to JSON."""
        data = to_json(dict(self._data), self._max_bytes - len(self._name.encode()))
        return self._event(EventType.SPAN_STARTED, data)

    def end(self, error: BaseException | None = None) -> dict[str, Any]:
        """Return the event of the end; `error` is the exception that left the body, if any."""
        data: dict[str, Any] = {"status": span_status(error)}
        data["seconds"] = round(perf_counter() - self._started, 3)
        if error is not None and data["status"] == "failed":
            data |= {"message": shortened_error(error), "error_type": error_type(error)}
        return self._event(EventType.SPAN_FINISHED, data)

    def _event(self, event_type: EventType, data: Mapping[str, Any]) -> dict[str, Any]:
        ids = {"run_id": self.run_id, "parent_run_id": self._parent_run_id}
        return {"event_type": event_type, "data": {**data, "name": self._name, **ids}}
