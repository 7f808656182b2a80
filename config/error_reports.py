"""Error reports of Django: the debug page and mails to ADMINS."""

from typing import Any

from django.views.debug import SafeExceptionReporterFilter

from events.redaction import DEFAULT_REDACTOR


class RedactingFilter(SafeExceptionReporterFilter):
    """Redacts the values of settings and request headers, such as URLs with a password."""

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return DEFAULT_REDACTOR.text(cleansed) if isinstance(cleansed, str) else cleansed
