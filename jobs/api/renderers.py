"""JSON parsing and rendering with orjson."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.views import APIView

from jobs.api.problem_details import Problem


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
            text = _("The body is not JSON: %(error)s.")
            raise ParseError(text % {"error": error}) from error


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
