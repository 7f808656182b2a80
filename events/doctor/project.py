"""Checks of the project: system checks, the ASGI application, static files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from events.conf import asgi_path, is_debug
from events.doctor.checks import Check, Examination
from events.doctor.findings import Finding, error, ok, warning
from events.live.asgi import DetachedStreamingMiddleware
from events.log_format import summarize_error

_PREFIX: Final = "job_events"
# Those of Redis and of processors, which have checks here.
_COVERED: Final = frozenset(f"job_events.{each}" for each in ("E040", "W012", "I012"))
_MAX_DEPTH: Final = 6


def check_system(_examination: Examination) -> Finding:
    """Django's system checks have no error, and ours no warning."""
    messages = [
        message
        for message in checks.run_checks(include_deployment_checks=True)
        if message.id not in _COVERED and not message.is_silenced()
    ]
    errors = [each for each in messages if each.level >= checks.ERROR]
    ours = [each for each in messages if str(each.id).startswith(_PREFIX)]
    if errors:
        return error(_described(errors))
    return warning(_described(ours)) if ours else ok("No errors.")


def _described(messages: list[checks.CheckMessage]) -> str:
    more = f" ({len(messages) - 1} more)" if len(messages) > 1 else ""
    return f"{messages[0].id}: {messages[0].msg}{more}"


def check_asgi(_examination: Examination) -> Finding:
    """An ASGI application exists, has our middleware, and routes sockets."""
    path = asgi_path()
    try:
        application = import_string(path)
    except ImportError as failure:
        seen = f"{path} cannot be imported ({summarize_error(failure)}): WSGI has no live streams."
        return warning(seen, "Serve ASGI, and set ASGI_APPLICATION.")
    parts = list(_parts(application))
    lacks = []
    if not any(isinstance(part, DetachedStreamingMiddleware) for part in parts):
        lacks.append("DetachedStreamingMiddleware")
    if not any("websocket" in getattr(part, "application_mapping", ()) for part in parts):
        lacks.append("routes of sockets")
    return warning(f"{path} has no {' and no '.join(lacks)}.") if lacks else ok(f"{path}.")


def _parts(application: Any, depth: int = 0) -> Iterator[Any]:
    """Yield an application and the applications in its attributes."""
    yield application
    if depth < _MAX_DEPTH:
        for name, value in getattr(application, "__dict__", {}).items():
            values = value.values() if name == "application_mapping" else (value,)
            for each in values:
                if callable(each) and not isinstance(each, type):
                    yield from _parts(each, depth + 1)


def check_static(_examination: Examination) -> Finding:
    """The files of the pages are collected, in the present version."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return warning("django.contrib.staticfiles is not in INSTALLED_APPS.")
    sources = dict(static_sources())
    if is_debug():
        lost = [name for name in sources if finders.find(name) is None]
        return error(f"No finder has {lost[0]}.") if lost else ok("Found, as DEBUG is True.")
    stale = [name for name, source in sources.items() if not _is_collected(name, source)]
    if stale:
        seen = f"{len(stale)} of {len(sources)} files, first {stale[0]}"
        return error(f"Not collected, or of another version: {seen}.")
    return ok(f"{len(sources)} files are collected.")


def static_sources() -> Iterator[tuple[str, Path]]:
    """Yield the static files of our apps: their names and paths."""
    for config in apps.get_app_configs():
        if config.label.startswith(_PREFIX):
            root = Path(config.path) / "static"
            for path in sorted(each for each in root.rglob("*") if each.is_file()):
                yield path.relative_to(root).as_posix(), path


def _is_collected(name: str, source: Path) -> bool:
    """Whether the storage has a file; if it is a local one, the same as the source."""
    try:
        collected = Path(staticfiles_storage.path(name))
    except NotImplementedError:
        return bool(staticfiles_storage.exists(name))
    except ImproperlyConfigured:  # without STATIC_ROOT
        return False
    return collected.is_file() and collected.read_bytes() == source.read_bytes()


CHECKS: Final = (
    Check("system-checks", check_system, "Run `manage.py check --deploy`, and follow its hints."),
    Check("asgi-application", check_asgi, "Write asgi.py as in docs/quickstart.md."),
    Check("static-files", check_static, "Run `manage.py collectstatic`."),
)
