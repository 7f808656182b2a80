"""JSON parsing and rendering with orjson."""

from collections.abc import Mapping
from typing import IO, Any, Final

import orjson
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.views import APIView

from events.error_text import ErrorText
from events.translation import translated
from jobs.api.problem_details import Problem

# What orjson reports.
_REASONS: Final = {
    str(each): each
    for each in (
        ErrorText("Input is a zero-length, empty document"),
        ErrorText("depth limit exceeded"),
        ErrorText("invalid escaped sequence in string"),
        ErrorText("no low surrogate in string"),
        ErrorText("number is infinity when parsed as double"),
        ErrorText("number with leading zero is not allowed"),
        ErrorText("str is not valid UTF-8: surrogates not allowed"),
        ErrorText("trailing comma is not allowed"),
        ErrorText("unexpected character, expected ':' after key"),
        ErrorText("unexpected character, expected a JSON value"),
        ErrorText("unexpected character, expected a string key"),
        ErrorText("unexpected content after document"),
        ErrorText("unexpected control character in string"),
        ErrorText("unexpected end of data"),
    )
}


def _not_json(error: orjson.JSONDecodeError) -> str:
    text = ErrorText(
        "The body is not JSON: %(reason)s: line %(line)d column %(column)d (char %(position)d).",
        reason=_REASONS.get(error.msg, error.msg),
        line=error.lineno,
        column=error.colno,
        position=error.pos,
    )
    return translated(text)


class OrjsonParser(BaseParser):
    """JSON of RFC 8259: no NaN, no lone surrogates, bounded size and depth."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = (parser_context or {})["view"].body_limit
        body = stream.read(limit + 1)
        if len(body) > limit:
            text = _("The body is larger than %(limit)d bytes.")
            raise Problem("body-too-large", text % {"limit": limit})
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(_not_json(error)) from error


class OrjsonRenderer(JSONRenderer):
    """JSON; writes the raw fragments of events.codec without parsing them."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        option = orjson.OPT_INDENT_2 if (renderer_context or {}).get("indent") else None
        try:
            return orjson.dumps(data, default=str, option=option)
        except TypeError:
            # orjson refuses 255 levels, which a payload of the allowed 254 levels has in a
            # response, and integers above 64 bits, such as the 1e22 that PostgreSQL returns.
            rendered: bytes = super().render(data, accepted_media_type, renderer_context)
            return rendered


class BrowsableRenderer(BrowsableAPIRenderer):
    """The browsable API; shows the output of OrjsonRenderer."""

    def get_default_renderer(self, view: APIView) -> BaseRenderer:
        return OrjsonRenderer()
