"""ASGI handler of the site."""

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class OneThreadHandler(ASGIHandler):
    """Runs the middleware and the view of a request in one thread.

    All middleware of the site is sync code. Django's handler would switch to the thread and back
    for each middleware hook, about seventeen times per request. Streaming responses still run in
    the event loop, and async views work at the cost of one switch.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware as sync code."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response to a request."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)
