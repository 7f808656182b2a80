"""The login page that anonymous users are redirected to."""

from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.translation import get_language

from jobs.conf import job_settings

_DEFAULT: Final = "/accounts/login/"  # of Django


def login_url() -> str:
    """Return LOGIN_URL, or the login page of this package if the project has set none.

    An address that Django does not route may be a page of a front-end, unless it is the default.
    """
    url = job_settings.LOGIN_URL
    try:
        url = resolve_url(url)
        if url == _DEFAULT:
            resolve(url)
    except (NoReverseMatch, Resolver404):
        with suppress(NoReverseMatch):  # the API may be included without the pages
            return reverse("job_events:login")
    return url


def leads_here(url: str, request: HttpRequest) -> bool:
    """Return whether a URL is that of the request, perhaps without its language or last slash."""
    address = urlsplit(url)
    own_paths = (request.path, request.path.replace(f"/{get_language()}/", "/", 1))
    is_own_path = f"{address.path.rstrip('/')}/" in own_paths
    return is_own_path and address.netloc in ("", request.get_host())
