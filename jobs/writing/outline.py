"""Schema of an outline: ``{"title", "sections": [{"id", "heading", "summary", "sections"}]}``."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from jobs.writing.exceptions import WritingError

MAX_SECTIONS = 60
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class OutlineSection(BaseModel):
    """A section with its subsections. `id` is its position, such as "1.2"."""

    id: str = ""
    heading: Line
    summary: str = Field(default="", max_length=1_000)
    sections: list["OutlineSection"] = []


class Outline(BaseModel):
    """A title and at least one section."""

    title: Line
    sections: list[OutlineSection] = Field(min_length=1)

    def walk(self) -> list[OutlineSection]:
        """Return all sections in reading order."""
        return list(_numbered(self.sections, ""))


def parse_outline(value: Any) -> Outline:
    """Validate an outline, JSON text or decoded, and number it. Raises WritingError."""
    validate = Outline.model_validate_json if isinstance(value, str) else Outline.model_validate
    try:
        outline = validate(value)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise WritingError(f"The outline is invalid. {'; '.join(lines)}") from None
    if (count := len(outline.walk())) > MAX_SECTIONS:
        raise WritingError(f"The outline has {count} sections, more than {MAX_SECTIONS}.")
    return outline


def _numbered(sections: list[OutlineSection], parent: str) -> Iterator[OutlineSection]:
    for place, section in enumerate(sections, 1):
        section.id = f"{parent}{place}"
        yield section
        yield from _numbered(section.sections, f"{section.id}.")
