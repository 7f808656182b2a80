"""How the site runs Django under ASGI."""

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class OneThreadHandler(ASGIHandler):
    """Runs a request's middleware and its view in a thread, in one go.

    Django's own handler goes to the thread and back for each hook of each middleware, some
    seventeen times a request, as all of them are sync code. What is streamed is streamed by the
    event loop as ever, and an async view works, at the price of a hop.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the middleware as sync code, whatever is asked."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)
