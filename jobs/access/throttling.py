"""Rate limits of publishing, exports, live connections and replays, by user.

The rates are those of `DEFAULT_THROTTLE_RATES` of the project's REST framework, the counters are in
its cache. A scope without a rate is not limited.
"""

from types import SimpleNamespace
from typing import Any, Final, cast

from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from jobs.exceptions import TooOften

PUBLISH: Final = "job_events_publish"
EXPORT: Final = "job_events_export"
CONNECT: Final = "job_events_connect"
REPLAY: Final = "job_events_replay"


def rate_of(scope: str) -> str | None:
    """Return the rate of a scope, such as `60/min`; None if it is not limited."""
    rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
    return rates.get(scope) or None


class ScopeThrottle(SimpleRateThrottle):
    """Throttle of one scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__()

    def get_rate(self) -> str | None:
        """Return the rate of the scope."""
        return rate_of(str(self.scope))

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Return the key of the user; requests are authenticated before they are throttled."""
        return f"throttle_{self.scope}_{request.user.pk}"


def check_rate(scopes: list[str], user: Any) -> None:
    """Count one use of each scope. Raises TooOften. Accesses the cache."""
    request = cast(Request, SimpleNamespace(user=user))  # a socket has no request
    for scope in scopes:
        throttle = ScopeThrottle(scope)
        if not throttle.allow_request(request, cast(APIView, None)):
            raise TooOften(throttle.wait() or 1.0)
