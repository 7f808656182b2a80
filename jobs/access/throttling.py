"""Rate limits of publishing, exports, live connections and replays, by user.

The rates are those of `DEFAULT_THROTTLE_RATES` of the project's REST framework, the counters are in
its cache. A scope without a rate is not limited.
"""

from types import SimpleNamespace
from typing import Any, Final, cast

from channels.db import database_sync_to_async
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from jobs.exceptions import TooOften

PUBLISH: Final = "job_events_publish"
EXPORT: Final = "job_events_export"
CONNECT: Final = "job_events_connect"
REPLAY: Final = "job_events_replay"


class ScopeThrottle(SimpleRateThrottle):
    """Throttle of one scope; requests are authenticated before they are throttled."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__()

    def get_rate(self) -> str | None:
        rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
        return rates.get(str(self.scope)) or None

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return f"throttle_{self.scope}_{request.user.pk}"


async def count_use(user: Any, scope: str) -> None:
    """Count one use of a scope by the user of a socket. Raises TooOften."""
    throttle = ScopeThrottle(scope)
    request: Any = SimpleNamespace(user=user)  # a socket has no request
    if throttle.rate is not None:
        allow = database_sync_to_async(throttle.allow_request)  # accesses the cache
        if not await allow(request, cast(APIView, None)):
            raise TooOften(throttle.wait() or 1.0)
