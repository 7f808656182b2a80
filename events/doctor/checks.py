"""Checks, and the examination that runs them one after another."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Final

from events.conf import secrets_of_settings
from events.database import close_connections
from events.doctor.findings import Finding, FindingState, error, skipped
from events.doctor.key_scan import KeysFound, find_keys
from events.doctor.modules import modules
from events.exceptions import RedisCommandError
from events.log_format import summarize_error
from events.processor.status import LogStatus, get_status, redis_memory
from events.redaction import DEFAULT_REDACTOR, REDACTED
from events.streams.memory import RedisMemory

CONNECTION_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 15.0
# The checks that those of the tables need.
TABLES: Final = ("database-connection", "database-migrations")
# Shorter ones would replace parts of other words.
_MIN_SECRET_CHARACTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Check:
    """A named check.

    `action` is what to do about a finding that has no action of its own. `needs` are the names of
    earlier checks: if one of them has an error or was skipped, this one is skipped.
    """

    name: str
    run: Callable[["Examination"], Finding]
    action: str
    needs: tuple[str, ...] = ()
    seconds: float = CHECK_SECONDS


def registered_checks() -> tuple[Check, ...]:
    """Return all checks in the order in which they run."""
    return tuple(check for path in modules for check in import_module(path).CHECKS)


@dataclass
class Examination:
    """A run of all checks; what several of them need is read once.

    `url` is the address of the site as its users reach it, `user` the name of the user who opens a
    stream there.
    """

    url: str = ""
    user: str = ""
    findings: dict[str, Finding] = field(default_factory=dict)

    @cached_property
    def status(self) -> LogStatus:
        """The status of the log. Raises django.db.Error."""
        return get_status()

    @cached_property
    def memory(self) -> RedisMemory:
        """The memory of Redis, or its error."""
        return redis_memory()

    @cached_property
    def keys(self) -> KeysFound | None:
        """The keys under our prefix; None if the Redis user may not run TYPE."""
        try:
            return find_keys()
        except RedisCommandError:
            return None

    def run(self) -> Iterator[Finding]:
        """Run all checks; yield a finding for each as soon as it is known."""
        for check in registered_checks():
            finding = self._find(check)
            action = "" if finding.state is FindingState.OK else finding.action or check.action
            seen = masked(" ".join(finding.seen.split()))
            self.findings[check.name] = replace(finding, name=check.name, seen=seen, action=action)
            yield self.findings[check.name]

    def _find(self, check: Check) -> Finding:
        for name in check.needs:
            if self.findings[name].state in (FindingState.ERROR, FindingState.SKIPPED):
                return skipped(f"Needs {name}.")
        # A server that has stopped may let a call hang for ever: its thread is then abandoned.
        results: SimpleQueue[Finding] = SimpleQueue()
        thread = threading.Thread(target=self._run, args=(check, results), daemon=True)
        thread.start()
        try:
            return results.get(timeout=check.seconds)
        except Empty:
            return error(f"No result after {check.seconds:.0f} s.")

    def _run(self, check: Check, results: "SimpleQueue[Finding]") -> None:
        try:
            finding = check.run(self)
        except Exception as failure:  # noqa: BLE001 - other checks must run
            finding = error(summarize_error(failure))
        finally:
            close_connections()
        results.put(finding)


def masked(text: str) -> str:
    """Return a text without secrets: those of the settings, and what looks like one."""
    for secret in secrets_of_settings():
        if len(secret) >= _MIN_SECRET_CHARACTERS:
            text = text.replace(secret, REDACTED)
    return DEFAULT_REDACTOR.text(text)
