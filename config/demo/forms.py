"""Form of the writing job: a prompt and text files."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from config.demo.templatetags.job_events_demo import uses_offline_model

SUFFIXES = (".txt", ".md")
MAX_FILES_BYTES = 200 * 1024
MAX_PROMPT_CHARS = 10_000
MAX_TITLE_CHARS = 100


class TextFilesInput(forms.FileInput):
    """File input for several files."""

    allow_multiple_selected = True


class TextFilesField(forms.FileField):
    """Text files in UTF-8; cleans to a list of ``{"name", "text"}``."""

    widget = TextFilesInput(attrs={"accept": ",".join((*SUFFIXES, "text/plain"))})
    default_error_messages = {  # noqa: RUF012 - ClassVar conflicts with the type in Django's stubs
        "suffix": _("“%(name)s” is not a .txt or .md file."),
        "not_text": _("“%(name)s” is not text in UTF-8. Save it as UTF-8 text and try again."),
        "nul": _("“%(name)s” contains NUL characters, so it is not a text file."),
        "too_large": _("The files are too large: %(size)s together; at most %(limit)s."),
    }

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Validate each file and their total size."""
        uploads = data if isinstance(data, (list, tuple)) else [data] if data else []
        files = [super(TextFilesField, self).clean(upload, initial) for upload in uploads]
        total = sum(upload.size or 0 for upload in files)
        if total > MAX_FILES_BYTES:
            limit = filesizeformat(MAX_FILES_BYTES)
            raise self._error("too_large", size=filesizeformat(total), limit=limit)
        return [self._read(upload) for upload in files]

    def _read(self, upload: UploadedFile[Any]) -> dict[str, str]:
        name = upload.name or ""
        if PurePath(name).suffix.lower() not in SUFFIXES:
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


class WritingForm(forms.Form):
    """Prompt and context files of `generate_outline_from_query_task`."""

    task_prompt = forms.CharField(
        label=_("What shall be written?"),
        max_length=MAX_PROMPT_CHARS,
        error_messages={"required": _("Say what shall be written.")},
        widget=forms.Textarea(attrs={"rows": 6, "dir": "auto"}),
    )
    context_files = TextFilesField(
        label=_("Text files as context (optional)"),
        required=False,
        help_text=_("One or several .txt or .md files in UTF-8, at most 200 KiB together."),
    )

    @property
    def description(self) -> str:
        """Text above the fields."""
        steps = _("Describe a text. The job drafts an outline, then writes the document.")
        model = _("Offline model: the text is extracted from your prompt and files.")
        return f"{steps} {model}" if uses_offline_model() else str(steps)

    def job_title(self) -> str:
        """Return the first line of the prompt that contains text, as the title of the job."""
        lines = (
            line.strip().lstrip("#").strip()
            for line in self.cleaned_data["task_prompt"].splitlines()
        )
        return Truncator(next(filter(None, lines), "")).chars(MAX_TITLE_CHARS)

    def job_payload(self) -> dict[str, Any]:
        """Return the payload, without `context_files` if there are none."""
        return {name: value for name, value in self.cleaned_data.items() if value}
