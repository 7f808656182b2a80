"""Translation of error texts, and the language of a connection."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.http import HttpRequest, parse_cookie
from django.utils import translation

from events.conf import event_settings
from events.error_text import ErrorText


def translated(error: object) -> str:
    """Return the text of an error in the current language; `str(error)` is English, for logs."""
    text = error.args[0] if isinstance(error, Exception) and error.args else error
    if not isinstance(text, ErrorText):
        return str(error)
    template = translation.gettext(text.template)
    if not text.values:
        return template
    return template % {name: _value(value) for name, value in text.values.items()}


def _value(value: object) -> Any:
    return translated(value) if isinstance(value, ErrorText) else value


def scope_language(scope: Any) -> AbstractContextManager[None]:
    """Return a context with the language of an ASGI scope, as LocaleMiddleware selects it.

    It is LANGUAGE_CODE, as for requests, if the project does not use that middleware.
    """
    if not event_settings.SELECTS_LANGUAGE:
        return nullcontext()
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = headers.get(b"accept-language", "")
    request.COOKIES = parse_cookie(headers.get(b"cookie", ""))
    return translation.override(translation.get_language_from_request(request))
