"""Serves static files in front of Django, so that other requests skip a middleware."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from servestatic import ServeStaticASGI


def with_static(application: Any) -> Any:
    """Serve the static files; pass on all other requests."""
    static = ServeStaticASGI(application, autorefresh=settings.DEBUG, max_age=60)
    for folder in folders():
        static.add_files(folder, prefix=settings.STATIC_URL)
    return static


def folders() -> Iterator[str]:
    """Yield the folders of static files: STATIC_ROOT in production, else those of the apps."""
    if not settings.IS_LOCAL:
        yield str(settings.STATIC_ROOT)
        return
    found: set[str] = set()
    for finder in get_finders():
        for _path, storage in finder.list([]):
            found.add(str(getattr(storage, "location", "")))
    yield from sorted(found - {""})
