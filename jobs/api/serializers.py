"""Jobs as JSON."""

from typing import Any, ClassVar

from rest_framework import serializers

from events.types import shown
from jobs.models import InputRequest, Job


class JobListSerializer(serializers.ModelSerializer[Job]):
    """A job without what may be large."""

    owner = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields: ClassVar[tuple[str, ...]] = (
            "job_id", "task_type", "title", "status", "attempt", "progress", "owner", "error",
            "created_at", "started_at", "finished_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_owner(self, job: Job) -> str | None:
        """The owner's user name."""
        return job.owner.get_username() if job.owner else None


class JobSerializer(JobListSerializer):
    """A whole job."""

    class Meta(JobListSerializer.Meta):
        fields = (*JobListSerializer.Meta.fields, "payload", "result")
        read_only_fields = fields


class ParsedJSONField(serializers.Field[Any, Any, Any, Any]):
    """JSON as the parser read it; whether it will do is for the service to say."""

    def to_internal_value(self, data: Any) -> Any:
        """The value as it came."""
        return data

    def to_representation(self, value: Any) -> Any:
        """The value as it is."""
        return value


class TextField(serializers.CharField):
    """Text as it came; a number is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        """Refuse what DRF would make text of."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.Field[bool, Any, bool, Any]):
    """True or false as JSON has them, and nothing that may be taken for one."""

    def to_internal_value(self, data: Any) -> bool:
        """Refuse all else."""
        if not isinstance(data, bool):
            raise serializers.ValidationError(f"It is true or false. Given: {shown(data)}.")
        return data

    def to_representation(self, value: bool) -> bool:
        """The value as it is."""
        return value


class StrictSerializer(serializers.Serializer[Any]):
    """A body in which each field is known."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a field that nobody reads: it is a misspelt one."""
        for name in set(self.initial_data) - set(self.fields):
            known = ", ".join(self.fields)
            raise serializers.ValidationError({shown(name): f"No such field; there are: {known}."})
        return attrs


class JobCreateSerializer(StrictSerializer):
    """What a caller says of a new job."""

    task_type = TextField(max_length=100)
    title = TextField(max_length=200, default="", allow_blank=True)
    job_id = TextField(max_length=64, required=False)
    payload = ParsedJSONField(default=dict)


class InputRequestSerializer(serializers.ModelSerializer[InputRequest]):
    """What a job asks, and the answer."""

    prompt = serializers.JSONField(help_text="Text, or any JSON for who answers.")
    choices = serializers.ListField(
        child=serializers.CharField(), help_text="Of which one is to be given; empty: anything."
    )
    value = serializers.JSONField(allow_null=True)

    class Meta:
        model = InputRequest
        fields: ClassVar[tuple[str, ...]] = (
            "name", "attempt", "prompt", "choices", "asked_at", "answered_at", "answered_by",
            "value",
        )  # fmt: skip
        read_only_fields = fields


class InputGiveSerializer(StrictSerializer):
    """An answer to what a job asks."""

    name = TextField(max_length=64)
    value = ParsedJSONField(allow_null=True)


class JobCancelSerializer(StrictSerializer):
    """How a job is to be cancelled."""

    terminate = FlagField(default=False)
