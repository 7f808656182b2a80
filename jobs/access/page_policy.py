"""What a browser may do on the pages of this package: CSP, Trusted Types and related headers.

The views set the headers, not a middleware: they hold in every project and for no other page.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from urllib.parse import urlsplit

from django.http.response import HttpResponseBase
from django.templatetags.static import static

_View = Callable[..., HttpResponseBase]

_HEADERS: Final = {
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(),"
    " payment=(), usb=()",
}


def content_security_policy(trusted_types: str) -> str:
    """Return the policy: files of the site and of STATIC_URL only, no inline code, no frames.

    `trusted_types` names the functions that may convert text to HTML.
    """
    address = urlsplit(static("job_events_jobs/jobs.css"))
    scheme = f"{address.scheme}://" if address.scheme else ""
    sources = f"'self' {scheme}{address.netloc}".strip()
    return (
        f"default-src {sources}; img-src {sources} data:; object-src 'none'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script';"
        f" trusted-types {trusted_types}"
    )


def restricted(trusted_types: str = "'none'") -> Callable[[_View], _View]:
    """Return a view decorator that adds the headers to each response."""

    def decorate(view: _View) -> _View:
        @wraps(view)
        def view_with_headers(*args: Any, **kwargs: Any) -> HttpResponseBase:
            response = view(*args, **kwargs)
            response.headers["Content-Security-Policy"] = content_security_policy(trusted_types)
            for name, value in _HEADERS.items():
                response.headers[name] = value
            return response

        return view_with_headers

    return decorate
