"""Serializers of jobs and of request bodies."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from django.db.models import DateTimeField
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from events.database import aware_time
from events.types import shown
from jobs.conf import job_settings
from jobs.models import Attempt, InputRequest, Job
from jobs.usage import cost_of

_PLAIN_NAME: Final = re.compile(r"[\w.-]{1,60}", re.ASCII)


def field_name(name: str) -> str:
    """Return the name of an unknown field for an error; quoted and cut unless it is plain."""
    return name if _PLAIN_NAME.fullmatch(name) else shown(name)


class UtcDateTimeField(serializers.DateTimeField):
    """A time in UTC, whatever the project's USE_TZ, TIME_ZONE and DATETIME_FORMAT."""

    def to_representation(self, value: datetime) -> str:
        return aware_time(value).astimezone(UTC).isoformat().replace("+00:00", "Z")


_FIELDS: Final = {
    **serializers.ModelSerializer.serializer_field_mapping,
    DateTimeField: UtcDateTimeField,
}


class JobListSerializer(serializers.ModelSerializer[Job]):
    """A job without its payload and result."""

    owner = serializers.SerializerMethodField()
    serializer_field_mapping = _FIELDS
    url = serializers.CharField(
        source="page_url",
        read_only=True,
        allow_null=True,
        help_text="Path of the job's page; null if the project does not include the pages.",
    )

    class Meta:
        model = Job
        fields: ClassVar[tuple[str, ...]] = (
            "job_id", "task_type", "title", "status", "attempt", "progress", "owner", "error",
            "created_at", "started_at", "finished_at", "first_event_at", "last_event_at",
            "event_count", "phase", "usage", "url",
        )  # fmt: skip
        read_only_fields = fields

    def get_owner(self, job: Job) -> str | None:
        return str(job.owner.get_username()) if job.owner else None


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """An attempt of a job."""

    serializer_field_mapping = _FIELDS

    class Meta:
        model = Attempt
        fields: ClassVar[tuple[str, ...]] = (
            "number", "status", "created_at", "started_at", "finished_at", "error", "reason",
        )  # fmt: skip
        read_only_fields = fields


class JobSerializer(JobListSerializer):
    """A job."""

    attempts = AttemptSerializer(many=True, read_only=True, help_text="The oldest first.")
    worker = serializers.SerializerMethodField(
        help_text="The worker of the task that started last; null if there is none."
    )
    cost = serializers.SerializerMethodField(
        help_text="Of `usage`, by the setting MODEL_PRICES; null without prices."
    )

    class Meta(JobListSerializer.Meta):
        fields = (
            *JobListSerializer.Meta.fields, "payload", "result", "attempts", "worker", "cost",
        )  # fmt: skip
        read_only_fields = fields

    def get_worker(self, job: Job) -> str | None:
        tasks = job.tasks.exclude(worker="").order_by("-started_at")
        return tasks.values_list("worker", flat=True).first()

    def get_cost(self, job: Job) -> float | None:
        return cost_of(job.usage)


class InputRequestSerializer(serializers.ModelSerializer[InputRequest]):
    """A question of a job, and its answer."""

    prompt = serializers.JSONField(help_text="Text or any other JSON value.")
    choices = serializers.ListField(
        child=serializers.CharField(), help_text="Allowed answers; empty if any is allowed."
    )
    value = serializers.JSONField(allow_null=True)
    serializer_field_mapping = _FIELDS

    class Meta:
        model = InputRequest
        fields: ClassVar[tuple[str, ...]] = (
            "name", "attempt", "prompt", "choices", "asked_at", "answered_at", "answered_by",
            "value",
        )  # fmt: skip
        read_only_fields = fields


class TextField(serializers.CharField):
    """Text without conversion: a number is refused, whitespace is kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """A JSON boolean; "true" and 1 are refused."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            text = _("Must be true or false. Given: %(value)s.")
            raise serializers.ValidationError(text % {"value": shown(data)})
        return data


class WholeNumberField(serializers.IntegerField):
    """A JSON integer; "1" and true are refused."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class ParsedJSONField(serializers.JSONField):
    """JSON as the parser returned it; the service validates it."""

    def to_internal_value(self, data: Any) -> Any:
        return data


class ObjectField(serializers.DictField):
    """A JSON object as the parser returned it."""

    default_error_messages: ClassVar[dict[str, Any]] = {
        "not_a_dict": gettext_lazy("Must be a JSON object.")
    }


class BodySerializer(serializers.Serializer[Any]):
    """The body of a request; unknown fields are refused."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse unknown fields, which may be misspelt."""
        for name in data if isinstance(data, Mapping) else ():
            if name not in self.fields:
                known = _("Unknown field. Known fields: %(names)s.")
                known %= {"names": ", ".join(self.fields)}
                raise serializers.ValidationError({field_name(name): [known]})
        return super().to_internal_value(data)

    @classmethod
    def read(cls, body: Any) -> dict[str, Any]:
        """Return the validated fields. Raises ValidationError."""
        serializer = cls(data=body)
        serializer.is_valid(raise_exception=True)
        fields: dict[str, Any] = serializer.validated_data
        return fields


def _validators_of(column: str) -> Any:
    field: Any = Job._meta.get_field(column)  # noqa: SLF001 - Django documents it
    return field.validators


class JobCreateSerializer(BodySerializer):
    """The fields of a new job."""

    task_type = TextField(validators=_validators_of("task_type"))
    title = TextField(max_length=200, default="", allow_blank=True, help_text="Without NUL.")
    job_id = TextField(
        validators=_validators_of("job_id"),
        required=False,
        help_text="Requires the permission job_events_jobs.add_job.",
    )
    payload = ObjectField(default=dict, help_text="The arguments of the runner.")

    def validate_task_type(self, task_type: str) -> str:
        """Refuse a task_type without a runner, unless JOBS_WITHOUT_RUNNER permits it."""
        if task_type in job_settings.RUNNERS or job_settings.JOBS_WITHOUT_RUNNER:
            return task_type
        allowed = ", ".join(job_settings.RUNNERS) or _("none, as RUNNERS is empty")
        raise serializers.ValidationError(
            _("The allowed ones are: %(names)s.") % {"names": allowed}
        )


class AttemptBodySerializer(BodySerializer):
    """The body of a request that applies to the current attempt of a job."""

    attempt = WholeNumberField(
        required=False,
        min_value=1,
        help_text="The attempt that the request is meant for; 409 if the job is at another one.",
    )


class JobRetrySerializer(AttemptBodySerializer):
    """How a job is retried."""


class InputGiveSerializer(AttemptBodySerializer):
    """The answer to a question."""

    name = TextField(min_length=1, max_length=64, help_text="The name of the question.")
    value = ParsedJSONField(
        allow_null=True, help_text="Any JSON value; one of the choices, if there are any."
    )


class JobCancelSerializer(AttemptBodySerializer):
    """How a job is cancelled."""

    terminate = FlagField(
        default=False, help_text="Let the queue terminate the running tasks, if it can."
    )
