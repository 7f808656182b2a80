"""JSON in and out by orjson."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.views import APIView


class BodyTooLarge(APIException):
    """The request's body is larger than what is asked for can be."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"


class OrjsonParser(BaseParser):
    """Reads JSON as RFC 8259 has it: no NaN, no lone surrogates, a bounded size and depth."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body's value; answer 400 to what is not JSON, 413 to what is too large."""
        limit = (parser_context or {})["view"].body_limit
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error


class OrjsonRenderer(JSONRenderer):
    """Writes JSON; what events.codec prepared is passed on as it is."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the JSON of `data`; nothing at all for None."""
        if data is None:
            return b""
        option = orjson.OPT_INDENT_2 if (renderer_context or {}).get("indent") else None
        try:
            return orjson.dumps(data, default=str, option=option)
        except TypeError:
            # 255 levels, which are a payload of the 254 allowed, or an integer beyond 64 bits,
            # as which PostgreSQL gives back 1e22.
            rendered: bytes = super().render(data, accepted_media_type, renderer_context)
            return rendered


class BrowsableRenderer(BrowsableAPIRenderer):
    """The browsable API, showing what the API's own JSON renderer writes."""

    def get_default_renderer(self, view: APIView) -> BaseRenderer:
        """What writes the answer that is shown."""
        return OrjsonRenderer()
