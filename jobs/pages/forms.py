"""Forms of the pages: the filter of the job list, and the payload of a job."""

import json
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from jobs.models import Job
from jobs.selectors import search_jobs


class JobFilterForm(forms.Form):
    """Filter of the job list. Invalid values are ignored, so that every link works."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": _("Search title, type or ID"), "dir": "auto"}
        ),
    )
    status = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=lambda: [("", _("Every status")), *Job.Status.choices],
    )

    def apply(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        self.is_valid()
        if status := self.cleaned_data.get("status"):
            jobs = jobs.filter(status=status)
        if words := self.cleaned_data.get("q"):
            jobs = search_jobs(jobs, words)
        return jobs

    @property
    def is_narrowing(self) -> bool:
        return any(self.cleaned_data.values())


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
