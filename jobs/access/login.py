"""The login page that anonymous users are redirected to."""

from contextlib import suppress
from typing import Final

from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, resolve, reverse

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
