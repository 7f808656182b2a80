"""Error texts: English for logs and programmers, translatable for the clients of an API."""

from typing import Any


class ErrorText(str):
    """An English text with the template and the values that a translation needs.

    It is the message of an exception. `events.translation.translated` returns its translation, in
    the language of the request that shows it; logs contain the English text. The template has
    placeholders such as `%(name)s` if there are values. A value may be an ErrorText itself.
    """

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> "ErrorText":
        text = super().__new__(cls, template % values if values else template)
        text.template, text.values = template, values
        return text

    def __reduce__(self) -> Any:
        return _restored, (self.template, self.values)


def _restored(template: str, values: dict[str, Any]) -> ErrorText:
    return ErrorText(template, **values)
