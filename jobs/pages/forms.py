"""Forms of the pages: the filter of the job list, and the payload of a job."""

import json
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from events.database import aware_time, column_time
from jobs.models import Job
from jobs.pages.facets import FACETS
from jobs.selectors import search_jobs, sees_others, users_named

OWN_RANGE: Final = "own"
RANGE_SECONDS: Final = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
RANGES: Final = {
    "1h": _("Last hour"),
    "24h": _("Last 24 hours"),
    "7d": _("Last 7 days"),
    "30d": _("Last 30 days"),
    OWN_RANGE: _("From … until …"),
}
# By columns of indexes. In the order of the end, the list has ended jobs only.
SORTS: Final = {
    "": _("Newest first"),
    "created_at": _("Oldest first"),
    "-finished_at": _("Last ended first"),
    "finished_at": _("First ended first"),
}
_YEARS: Final = range(1970, 2200)
_LOCAL_TIMES: Final = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def _time_field(label: Any) -> forms.DateTimeField:
    """Return a field for a time in the time zone of Django."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_LOCAL_TIMES[0])
    return forms.DateTimeField(
        label=label, required=False, input_formats=_LOCAL_TIMES, widget=widget
    )


class JobFilterForm(forms.Form):
    """Filter and order of the job list. Invalid values are ignored, so that every link works."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": _("Search title, type or ID"), "dir": "auto"}
        ),
    )
    status = forms.ChoiceField(required=False, choices=FACETS.items(), widget=forms.HiddenInput)
    type = forms.CharField(label=_("Type"), required=False, max_length=100)
    owner = forms.CharField(
        label=_("Owner"),
        required=False,
        max_length=150,
        widget=forms.TextInput(attrs={"dir": "auto", "placeholder": _("Every owner")}),
    )
    range = forms.ChoiceField(
        label=_("Time range"), required=False, choices=[("", _("All time")), *RANGES.items()]
    )
    since = _time_field(_("From"))
    until = _time_field(_("Until"))
    sort = forms.ChoiceField(label=_("Order"), required=False, choices=SORTS.items())

    def __init__(self, data: Any, user: Any) -> None:
        super().__init__(data)
        self._user = user
        self.is_valid()
        if not sees_others(user):
            del self.fields["owner"]
            self.cleaned_data.pop("owner", None)

    @property
    def facet(self) -> str:
        return self.cleaned_data.get("status") or ""

    @property
    def task_type(self) -> str:
        return self.cleaned_data.get("type") or ""

    @property
    def ordering(self) -> str:
        return self.cleaned_data.get("sort") or "-created_at"

    def interval(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the aware start and end of the chosen time range."""
        name = self.cleaned_data.get("range")
        if name in RANGE_SECONDS:
            return now - timedelta(seconds=RANGE_SECONDS[name]), None
        if name == OWN_RANGE:
            return self._time("since"), self._time("until")
        return None, None

    def _time(self, name: str) -> datetime | None:
        """Return the aware time of a field; times far from any job overflow in calculations."""
        value = self.cleaned_data.get(name)
        return aware_time(value) if value and value.year in _YEARS else None

    def restrict(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """Apply the conditions except those of status and time."""
        if self.task_type:
            jobs = jobs.filter(task_type=self.task_type)
        if name := self.cleaned_data.get("owner"):
            jobs = jobs.filter(owner_id__in=users_named([name]))
        if words := self.cleaned_data.get("q"):
            jobs = search_jobs(jobs, words)
        return jobs

    def in_interval(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """Return the jobs created in the chosen time range."""
        since, until = self.interval(aware_time(timezone.now()))
        if since:
            jobs = jobs.filter(created_at__gte=column_time(since))
        return jobs.filter(created_at__lt=column_time(until)) if until else jobs

    @property
    def is_narrowing(self) -> bool:
        return any(value for name, value in self.cleaned_data.items() if name != "sort")

    @property
    def has_conditions(self) -> bool:
        """Whether figures by task type do not describe the jobs."""
        return bool(self.cleaned_data.get("q") or self.cleaned_data.get("owner"))


class JSONObjectField(forms.CharField):
    """Text of a JSON object; cleans to a dict."""

    default_error_messages = {"invalid": _('Enter a JSON object, such as {"pages": 5}.')}  # noqa: RUF012

    def to_python(self, value: Any) -> Any:
        try:
            text = super().to_python(value) or "{}"
            decoded = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            decoded = None
        if not isinstance(decoded, dict):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return decoded


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


class PayloadForm(forms.Form):
    """Title and payload of a job whose runner has no form."""

    title = forms.CharField(
        label=_("Title (optional)"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"dir": "auto"}),
    )
    payload = JSONObjectField(
        label=_("Payload"),
        required=False,
        initial="{}",
        help_text=_("A JSON object: the arguments of the runner by name."),
        widget=forms.Textarea(attrs={"rows": 10, "dir": "ltr", "spellcheck": "false"}),
    )

    def job_title(self) -> str:
        return str(self.cleaned_data["title"])

    def job_payload(self) -> dict[str, Any]:
        return dict(self.cleaned_data["payload"])
