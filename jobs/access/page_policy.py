"""What a browser may do on the pages of this package: CSP, Trusted Types and related headers.

The routes set the headers, not a middleware: they hold in every project and for no other page.
"""

from typing import Final
from urllib.parse import urlsplit

from django.templatetags.static import static

from events.live.rejection import View, guard_page
from jobs.access.login import login_url

_HEADERS: Final = {
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(),"
    " payment=(), usb=()",
}


def content_security_policy() -> str:
    """Return the policy: files of the site and of STATIC_URL only, no inline code, no frames.

    No function may convert text to HTML. A form may be redirected to the login page, also on
    another site.
    """
    sources = f"'self' {_origin(static('job_events_jobs/jobs.css'))}".strip()
    targets = f"'self' {_origin(login_url())}".strip()
    return (
        f"default-src {sources}; img-src {sources} data:; object-src 'none'; base-uri 'none';"
        f" form-action {targets}; frame-ancestors 'none'; require-trusted-types-for 'script';"
        " trusted-types 'none'"
    )


def _origin(url: str) -> str:
    """Return the scheme and the host of a URL; an empty text if it has none."""
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc}" if address.scheme else address.netloc


def restricted(view: View) -> View:
    """Return the view of a page with these headers, guarded by `guard_page`."""

    def headers() -> dict[str, str]:
        return {"Content-Security-Policy": content_security_policy(), **_HEADERS}

    return guard_page(view, "job_events_jobs/unavailable.html", headers)
