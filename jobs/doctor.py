"""Checks of `manage.py doctor` that need jobs: logs, channel layer, live streams, alerts."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.storage import staticfiles_storage
from django.db.models import Exists, OuterRef
from django.urls import NoReverseMatch, get_resolver, reverse

from events.database import primary_rows
from events.doctor.checks import TABLES, Check, Examination
from events.doctor.findings import Finding, error, ok, skipped, warning
from events.doctor.responses import TIMEOUT_SECONDS, FirstByte, first_byte
from events.doctor.round_trip import erase_temporary_log, temporary_job_id
from events.live.frames import SSE_OPENING
from events.models import EventLog
from jobs import services
from jobs.access.logins import logins_of
from jobs.access.tickets import make_ticket
from jobs.exceptions import JobNotFound
from jobs.models import Job
from jobs.monitoring.deliveries import REMEDY, delivery_failures

MAX_LOGS: Final = 10_000
SLOW_FIRST_BYTE_SECONDS: Final = 2.0
_LAYER_SECONDS: Final = 3.0
_OK: Final = 200
_ROUTE: Final = "api-job-events-stream"
_STATIC_FILE: Final = "job_events/job-events.js"


def check_logs(_examination: Examination) -> Finding:
    """Every log has a job: without one, its page and API are a 404."""
    logs = EventLog.objects.filter(deleted_at=None).order_by("-pk")[:MAX_LOGS]
    job = Job.objects.filter(job_id=OuterRef("job_id"))
    without = EventLog.objects.filter(~Exists(job), pk__in=logs.values("pk"))
    names = list(without.order_by("-pk").values_list("job_id", flat=True))
    if names:
        return warning(f"{len(names)} of the newest {MAX_LOGS:,} logs, the last is {names[0]}.")
    return ok(f"None of the newest {MAX_LOGS:,} logs.")


def check_deliveries(_examination: Examination) -> Finding:
    """Alert messages are delivered to all channels."""
    failed = delivery_failures()
    if not failed.channels:
        return ok("None has failed.")
    return error(failed.summary) if failed.given_up else warning(failed.summary)


def check_layer(_examination: Examination) -> Finding:
    """A message to a group arrives."""
    layer: Any = get_channel_layer()
    if layer is None:
        return warning("There is none: job lists are up to five seconds late.")
    asyncio.run(_send_and_receive(layer))
    name = type(layer).__name__
    if isinstance(layer, InMemoryChannelLayer):
        return warning(f"{name} connects no processes: job lists are up to five seconds late.")
    return ok(f"{name} delivers.")


async def _send_and_receive(layer: Any) -> None:
    """Raise TimeoutError, or the error of the layer."""
    group, message = f"job_events.doctor.{token_hex(8)}", {"type": "doctor", "id": token_hex(8)}
    async with asyncio.timeout(_LAYER_SECONDS):
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        await layer.group_send(group, message)
        while await layer.receive(channel) != message:
            pass
        await layer.group_discard(group, channel)
        if hasattr(layer, "close_pools"):
            await layer.close_pools()


def check_served(examination: Examination) -> Finding:
    """The web server or the proxy serves the static files."""
    if not examination.url:
        return skipped("Needs --url.")
    path = staticfiles_storage.url(_STATIC_FILE)
    url = path if path.startswith("http") else f"{examination.url}{path}"
    found = first_byte(url, {"Accept": "*/*"})
    content_type = found.headers.get("content-type", "no type")
    seen = f"{found.url} responds with {found.status}, {content_type}."
    if not found.status:
        return error(f"{found.url} does not respond within {TIMEOUT_SECONDS:.0f} s.")
    return ok(seen) if found.status == _OK and "javascript" in content_type else error(seen)


def check_stream(examination: Examination) -> Finding:
    """The first bytes of an open stream arrive at once: no proxy holds them back."""
    if not examination.url:
        return skipped("Needs --url.")
    user = _user(examination.user)
    if user is None:
        return error(f"There is no active user {examination.user or 'that is a superuser'}.")
    with _temporary_job(user) as job:
        ticket = make_ticket(job, user, logins_of(user))
        path = _stream_path(job.job_id)
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip, br"}
        found = first_byte(f"{examination.url}{path}?ticket={ticket}", headers)
    return _judge_stream(found, path)


def _judge_stream(found: FirstByte, path: str) -> Finding:
    if found.seconds is None:
        seen = "The stream has no byte" if found.status else "There is no response"
        return error(f"{seen} within {TIMEOUT_SECONDS:.0f} s: a proxy buffers it.")
    if found.status != _OK:
        text = found.start.decode(errors="replace")[:200]
        return error(f"{path} responds with {found.status}: {text}")
    if not found.start.startswith(SSE_OPENING[:1]):
        encoding = found.headers.get("content-encoding", "none")
        return error(f"The stream was changed on its way; its content-encoding is {encoding}.")
    seen = f"First byte of the stream after {found.seconds:.2f} s."
    return warning(seen) if found.seconds > SLOW_FIRST_BYTE_SECONDS else ok(seen)


def _user(name: str) -> Any:
    """Return the active user with a login name, or the first active superuser."""
    model = get_user_model()
    wanted = {model.USERNAME_FIELD: name} if name else {"is_superuser": True}
    fields = {field.name for field in model._meta.get_fields()}  # noqa: SLF001 - documented by Django
    conditions = {**wanted, "is_active": True}
    known = {field: value for field, value in conditions.items() if field in fields}
    return primary_rows(model).filter(**known).order_by("pk").first()


@contextmanager
def _temporary_job(user: Any) -> Iterator[Job]:
    """Create a job without a runner, and erase it afterwards."""
    job = services.job_create(
        task_type="doctor", owner=user, title="manage.py doctor", job_id=temporary_job_id()
    )
    try:
        yield job
    finally:
        with suppress(JobNotFound):  # the user has deleted it
            services.job_delete(job_id=job.job_id)
        erase_temporary_log(job.job_id)


def _stream_path(job_id: str) -> str:
    """Return the path of a stream, in whatever namespace the project has included the API."""
    for name in (_ROUTE, *(f"{each}:{_ROUTE}" for each in get_resolver().namespace_dict)):
        try:
            return reverse(name, kwargs={"job_id": job_id})
        except NoReverseMatch:
            continue
    raise NoReverseMatch("ROOT_URLCONF does not include `jobs.urls` or `jobs.api.urls`.")


_PROXY: Final = "Let the proxy pass /api/ without buffering or compression, to an ASGI server."

CHECKS: Final = (
    Check(
        "logs-without-job",
        check_logs,
        "Create the job first, with `services.job_create` or the API.",
        TABLES,
    ),
    Check(
        "alert-deliveries",
        check_deliveries,
        REMEDY,
        TABLES,
    ),
    Check("channel-layer", check_layer, "Set CHANNEL_LAYERS to channels_redis."),
    Check("served-static-files", check_served, "Let the proxy or the ASGI application serve them."),
    Check("event-stream", check_stream, _PROXY, ("redis-writes", "database-writes")),
)
