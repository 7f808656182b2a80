"""How often somebody may do what costs: the rates are those of the project's REST framework.

The scopes are `job_events_publish`, `job_events_export`, `job_events_connect` (streams and sockets)
and `job_events_replay`; one without a rate in `DEFAULT_THROTTLE_RATES` is not limited. Like DRF's
own, they count in the project's cache, and by user.
"""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

PUBLISH: Final = "job_events_publish"
EXPORT: Final = "job_events_export"
CONNECT: Final = "job_events_connect"
REPLAY: Final = "job_events_replay"


def rate_of(scope: str) -> str | None:
    """The rate of a scope; None if it is not limited."""
    rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
    return rates.get(scope) or None


class ScopeThrottle(SimpleRateThrottle):
    """Limits one scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__()

    def get_rate(self) -> str | None:
        """The rate of the scope, such as `60/min`; None if it has none."""
        return rate_of(str(self.scope))

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """By the user; only users get as far as here."""
        return f"throttle_{self.scope}_{request.user.pk}"


class _Asking:
    """What a throttle wants to know of a request, for a socket, which has none."""

    def __init__(self, user: Any) -> None:
        self.user = user


def wait_for(scopes: list[str], user: Any) -> float | None:
    """Seconds for which somebody has to wait who has done this too often; None for go ahead.

    Counts that they do it. Asks the cache.
    """
    for scope in scopes:
        throttle, asking = ScopeThrottle(scope), _Asking(user)
        if not throttle.allow_request(asking, None):  # type: ignore[arg-type]
            return throttle.wait() or 1.0
    return None
