"""The login page that anonymous users are redirected to."""

from contextlib import suppress
from urllib.parse import urlsplit

from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse

from jobs.conf import job_settings


def login_url() -> str:
    """Return LOGIN_URL if it is a page of the project, else the login page of this package."""
    url = job_settings.LOGIN_URL
    try:
        url = resolve_url(url)
        parts = urlsplit(url)
        if not parts.netloc:
            resolve("/" + parts.path.removeprefix(get_script_prefix()).lstrip("/"))
    except (NoReverseMatch, Resolver404):
        with suppress(NoReverseMatch):  # the API may be included without the pages
            return reverse("job_events:login")
    return url
