"""The forms of the pages: a new job, and the filter of the job list."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q, QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from jobs.models import Job

CONTEXT_SUFFIXES = (".txt", ".md")
CONTEXT_MAX_BYTES = 200 * 1024
PROMPT_MAX_CHARS = 10_000
TITLE_MAX_CHARS = 100


def title_from_prompt(prompt: str) -> str:
    """A job title: the first line of the prompt that says something, at most 100 characters."""
    lines = (line.strip().lstrip("#").strip() for line in prompt.splitlines())
    return Truncator(next(filter(None, lines), "")).chars(TITLE_MAX_CHARS)


class TextFilesInput(forms.FileInput):
    """A file input that takes several files."""

    allow_multiple_selected = True


class TextFilesField(forms.FileField):
    """Any number of UTF-8 text files; cleans to a list of ``{"name", "text"}``."""

    widget = TextFilesInput
    default_error_messages = {  # noqa: RUF012  (Django's own spelling; ClassVar clashes with it)
        "suffix": _("“%(name)s” is not a .txt or .md file."),
        "not_text": _("“%(name)s” is not text in UTF-8. Save it as UTF-8 text and try again."),
        "nul": _("“%(name)s” contains NUL characters, so it is not a text file."),
        "too_large": _("The files are too large: %(size)s together; at most %(limit)s."),
    }

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Checks each file and their size together; raises `ValidationError`."""
        uploads = data if isinstance(data, (list, tuple)) else [data] if data else []
        files = [super(TextFilesField, self).clean(upload, initial) for upload in uploads]
        total = sum(upload.size or 0 for upload in files)
        if total > CONTEXT_MAX_BYTES:
            raise self._error(
                "too_large", size=filesizeformat(total), limit=filesizeformat(CONTEXT_MAX_BYTES)
            )
        return [self._read(upload) for upload in files]

    def _read(self, upload: UploadedFile[Any]) -> dict[str, str]:
        name = upload.name or ""
        if PurePath(name).suffix.lower() not in CONTEXT_SUFFIXES:
            raise self._error("suffix", name=name)
        try:
            text = upload.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self._error("not_text", name=name) from None
        if "\0" in text:
            raise self._error("nul", name=name)
        return {"name": name, "text": text}

    def _error(self, code: str, **params: str) -> forms.ValidationError:
        return forms.ValidationError(self.error_messages[code], code=code, params=params)


class NewJobForm(forms.Form):
    """What shall be written, and from which files."""

    prompt = forms.CharField(
        label=_("What shall be written?"),
        max_length=PROMPT_MAX_CHARS,
        error_messages={"required": _("Say what shall be written.")},
        widget=forms.Textarea(attrs={"rows": 6, "dir": "auto"}),
    )
    context_files = TextFilesField(
        label=_("Text files as context (optional)"),
        required=False,
        help_text=_("One or several .txt or .md files in UTF-8, at most 200 KiB together."),
        widget=TextFilesInput(attrs={"accept": ",".join((*CONTEXT_SUFFIXES, "text/plain"))}),
    )

    def title(self) -> str:
        """The title of the job, derived from the prompt."""
        return title_from_prompt(self.cleaned_data["prompt"])

    def payload(self) -> dict[str, Any]:
        """The job's payload; without files it has no `context_files`."""
        payload: dict[str, Any] = {"task_prompt": self.cleaned_data["prompt"]}
        if files := self.cleaned_data["context_files"]:
            payload["context_files"] = files
        return payload


class JobFilterForm(forms.Form):
    """The filter of the job list; what is not valid is left out, so that any link works."""

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
        """The jobs that match."""
        self.is_valid()
        if status := self.cleaned_data.get("status"):
            jobs = jobs.filter(status=status)
        if words := self.cleaned_data.get("q"):
            jobs = jobs.filter(
                Q(title__icontains=words)
                | Q(task_type__icontains=words)
                | Q(job_id__icontains=words)
            )
        return jobs

    @property
    def is_narrowing(self) -> bool:
        """Whether anything is filtered at all."""
        return bool(self.is_bound and any(self.cleaned_data.values()))
