"""Middleware of the site."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def in_one_thread(get_response: GetResponse) -> GetResponse:
    """Does nothing, synchronously, as the last middleware: so that those before it run in one go.

    Under ASGI, Django runs each hook of its own middlewares in a thread, one hop after the other,
    unless what they call is sync code; the views of this project are.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    return middleware
