"""Serializers of statistics."""

from typing import Any, ClassVar

from rest_framework import serializers

from events.processor.health import STATES
from jobs.api.serializers import UtcDateTimeField
from jobs.models import Alert, AlertDelivery
from jobs.monitoring.figures import GAUGES
from jobs.monitoring.statistics import RANGES


def _optional(field: type[serializers.Field[Any, Any, Any, Any]], help_text: str = "") -> Any:
    return field(allow_null=True, help_text=help_text)


def _series(help_text: str) -> serializers.ListField:
    return serializers.ListField(child=serializers.FloatField(allow_null=True), help_text=help_text)


def _by_label(help_text: str, **options: Any) -> serializers.DictField:
    return serializers.DictField(child=_series("By period."), help_text=help_text, **options)


class SeriesSerializer(serializers.Serializer[Any]):
    """A value for each period; null where it is unknown."""

    jobs_created = _series("Jobs created.")
    attempts_ended = _by_label("Attempts that ended, by status.")
    failure_rate = _series("Share of ended attempts that failed.")
    failure_rate_before = _series("The same in the range before.")
    queue_wait = _by_label("`p50` and `p95` of the seconds until an attempt was started.")
    duration = _by_label("`p50` and `p95` of the seconds from start to end of an attempt.")
    first_event = _by_label("`p50` and `p95` of the seconds from the job to its first event.")
    tokens = _by_label("Tokens of model calls: `input` and `output`.")
    cost = _series("Cost by the setting MODEL_PRICES.")
    failures = _by_label("Failed attempts by reason; not with `task_type`.", required=False)

    def get_fields(self) -> dict[str, Any]:
        """Add the figures of processing, which need the permission `view_monitor`."""
        names = (*GAUGES, "events_appended", "events_archived")
        processing = {
            name: serializers.ListField(
                child=serializers.FloatField(allow_null=True),
                required=False,
                help_text="Requires the permission `view_monitor`.",
            )
            for name in names
        }
        return {**super().get_fields(), **processing}


class FailingTypeSerializer(serializers.Serializer[Any]):
    """A task_type with failed attempts."""

    task_type = serializers.CharField()
    ended = serializers.IntegerField()
    failed = serializers.IntegerField()
    rate = serializers.FloatField()
    last_error = serializers.CharField(help_text="Of a job that the caller may see.")
    job_id = _optional(serializers.CharField)
    attempt = _optional(serializers.IntegerField)
    url = _optional(serializers.CharField)
    may_retry = serializers.BooleanField()


class JobRowSerializer(serializers.Serializer[Any]):
    """A running job that makes no progress."""

    job_id = serializers.CharField()
    attempt = serializers.IntegerField()
    title = serializers.CharField()
    task_type = serializers.CharField()
    url = _optional(serializers.CharField)
    state = serializers.ChoiceField(
        choices=("stuck", "quiet", "waiting"),
        help_text="No events and heartbeats; heartbeats without events; an open question.",
    )
    since = _optional(UtcDateTimeField)
    last_event_at = _optional(UtcDateTimeField)
    heartbeat_at = _optional(UtcDateTimeField)
    worker = serializers.CharField()
    may_change = serializers.BooleanField(help_text="Whether the caller may cancel it.")


class HealthItemSerializer(serializers.Serializer[Any]):
    """The state of a part of the processing."""

    name = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    value = _optional(serializers.FloatField, "A count, bytes, or an age in seconds.")
    limit = _optional(serializers.FloatField, "The greatest possible value.")
    threshold = _optional(serializers.FloatField, "The value from which the state changes.")
    detail = serializers.CharField(help_text="What is wrong.")
    action = serializers.CharField(help_text="What to do.")
    since = _optional(UtcDateTimeField)
    runbook = serializers.CharField(help_text="A heading in the documentation.")


class WorkerRowSerializer(serializers.Serializer[Any]):
    """A worker with running tasks."""

    name = serializers.CharField()
    tasks = serializers.IntegerField()
    heartbeat_at = _optional(UtcDateTimeField, "The oldest of its tasks.")
    state = serializers.ChoiceField(choices=("alive", "late", "unknown"))


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """An alert that is pending or firing."""

    pending_at = UtcDateTimeField()
    fired_at = _optional(UtcDateTimeField)

    class Meta:
        model = Alert
        fields: ClassVar[tuple[str, ...]] = (
            "id", "rule", "subject", "state", "value", "summary", "pending_at", "fired_at",
        )  # fmt: skip
        read_only_fields = fields


class AlertDeliverySerializer(serializers.ModelSerializer[AlertDelivery]):
    """A message that was not delivered to a channel."""

    rule = serializers.CharField(source="message.rule")
    next_at = _optional(UtcDateTimeField, "null: given up.")

    class Meta:
        model = AlertDelivery
        fields: ClassVar[tuple[str, ...]] = (
            "id", "channel", "rule", "attempts", "next_at", "error",
        )  # fmt: skip
        read_only_fields = fields


_MONITOR = "Requires the permission `view_monitor`."


class StatisticsSerializer(serializers.Serializer[Any]):
    """Figures of a range of time."""

    range = serializers.ChoiceField(choices=tuple(RANGES))
    step = serializers.IntegerField(help_text="Length of a period in seconds.")
    complete = serializers.BooleanField(help_text="Whether the earlier periods have values.")
    task_types = serializers.ListField(child=serializers.CharField(), help_text="Of this range.")
    series = SeriesSerializer()
    failing = FailingTypeSerializer(many=True)
    stuck = JobRowSerializer(many=True)
    waiting = JobRowSerializer(many=True)
    health = HealthItemSerializer(many=True, required=False, help_text=_MONITOR)
    workers = WorkerRowSerializer(many=True, required=False, help_text=_MONITOR)
    alerts = AlertSerializer(many=True, required=False, help_text=_MONITOR)
    deliveries = AlertDeliverySerializer(many=True, required=False, help_text=_MONITOR)

    def get_fields(self) -> dict[str, Any]:
        """Add `from`, which is a keyword of Python."""
        start = UtcDateTimeField(source="start", help_text="Start of the first period.")
        return {"from": start, **super().get_fields()}
