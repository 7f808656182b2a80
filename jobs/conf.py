"""The settings of jobs/: the keys of `JOB_EVENTS` that this app reads, with their defaults."""

from typing import Any, Final, TypeVar

from django.conf import settings

from events.conf import configured

T = TypeVar("T")


class JobSettings:
    """Reads the settings on each access, so that `override_settings` works."""

    @property
    def RUNNERS(self) -> dict[str, Any]:
        """task_type -> what runs it: a task of a queue or a callable, or the dotted path of one.

        It is called with `(job_id, **payload)`; a task of Celery or Django is sent with them.
        """
        return self._get("RUNNERS", dict[str, Any]())

    @property
    def MAX_PAYLOAD_BYTES(self) -> int:
        """The largest payload of a job, in bytes of JSON."""
        return self._get("MAX_PAYLOAD_BYTES", 1024 * 1024)

    @property
    def CHAT_MODEL(self) -> str:
        """`provider:model` for LangChain's `init_chat_model`; empty for the offline model."""
        return self._get("CHAT_MODEL", "")

    @property
    def OFFLINE_TOKEN_DELAY(self) -> float:
        """Seconds between two tokens of the offline model."""
        return self._get("OFFLINE_TOKEN_DELAY", 0.0)

    @property
    def LOGIN_TIMEOUT(self) -> float:
        """Seconds after which a socket for several jobs is closed whose user is not known."""
        return self._get("LOGIN_TIMEOUT", 5.0)

    @property
    def RECHECK_LOGINS(self) -> float:
        """Seconds after which the users of live connections, and their logins, are looked at again.

        And whose the jobs are that they view.
        """
        return self._get("RECHECK_LOGINS", 4.0)

    @property
    def RECHECK_JOBS(self) -> float:
        """Seconds after which it is looked up again which jobs these users may see."""
        return self._get("RECHECK_JOBS", 60.0)

    @property
    def MAX_SUBSCRIPTIONS(self) -> int:
        """The most jobs that are viewed by one connection."""
        return self._get("MAX_SUBSCRIPTIONS", 100)

    @property
    def VISIBLE_JOBS(self) -> Any:
        """Which jobs a user may see: a callable, or its dotted path; user -> QuerySet of Job."""
        return self._get("VISIBLE_JOBS", "jobs.selectors.own_jobs")

    @property
    def RETENTION(self) -> dict[str, dict[str, Any]]:
        """task_type, or `*` for all others -> what is kept: `days` and `events`, either or both.

        `manage.py prune_events` removes the rest. Empty: everything is kept.
        """
        return self._get("RETENTION", dict[str, dict[str, Any]]())

    @property
    def WORKER_TIMEOUT(self) -> float:
        """Seconds after which a worker that was not heard of is taken for dead."""
        return self._get("WORKER_TIMEOUT", 30.0)

    @property
    def QUEUE_TIMEOUT(self) -> float | None:
        """Seconds after which a job fails that no worker took up; None: never."""
        return self._get("QUEUE_TIMEOUT", 86400.0)

    @property
    def CANCEL_UNWATCHED(self) -> dict[str, float]:
        """task_type -> seconds after which a job is cancelled whose last viewer has left."""
        return self._get("CANCEL_UNWATCHED", dict[str, float]())

    @property
    def SESSION_ENGINE(self) -> str:
        """Where the project keeps its sessions, as Django knows it."""
        return settings.SESSION_ENGINE

    @property
    def DEMO(self) -> bool:
        """Whether the login page may tell the demo's user and password."""
        return self._get("DEMO", False)

    @property
    def LOGIN_URL(self) -> str:
        """The project's own login page, as Django knows it."""
        return str(settings.LOGIN_URL)

    @property
    def CSRF_HEADER(self) -> str:
        """The header in which a script of ours sends the CSRF token."""
        return str(settings.CSRF_HEADER_NAME).removeprefix("HTTP_").replace("_", "-")

    def _get(self, name: str, default: T) -> T:
        value: T = configured().get(name, default)
        return value


KEYS: Final = frozenset(
    name for name, value in vars(JobSettings).items() if isinstance(value, property)
) - {"LOGIN_URL", "SESSION_ENGINE", "CSRF_HEADER"}
job_settings: Final = JobSettings()
user_model: Final = settings.AUTH_USER_MODEL
