"""What a browser may do on the pages of this package: CSP, Trusted Types and related headers.

The routes set the headers, not a middleware: they hold in every project and for no other page.
"""

from typing import Final
from urllib.parse import urlsplit

from django.templatetags.static import static

from events.live.rejection import View, guard_page

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


def restricted(view: View, trusted_types: str = "'none'") -> View:
    """Return the view of a page with these headers, guarded by `guard_page`."""

    def headers() -> dict[str, str]:
        return {"Content-Security-Policy": content_security_policy(trusted_types), **_HEADERS}

    return guard_page(view, "job_events_jobs/unavailable.html", headers)
