"""What the chat models are told, real and offline ones alike.

A brief puts each part between tags, escaped as in XML, so that nothing in a part can end it.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.writing.outline import MAX_DEPTH, MAX_SECTIONS, Outline, OutlineSection, walk

# The end of what is written so far; enough to go on from, and to see what has been said.
_MAX_WRITTEN = 20_000

OUTLINE_INSTRUCTIONS = f"""\
You plan documents. You get a task and the names of the sources, if there are any.

If there are sources, read them with the tools before you plan. Take the structure, the terms and
the facts from the task and the sources. Invent nothing.

Answer with the outline alone, as JSON of this shape, without text around it:
{{"title": "…", "sections": [{{"heading": "…", "summary": "…", "sections": []}}]}}

- `summary` is one or two sentences that say what the section states.
- `sections` within a section have the same shape; at most {MAX_DEPTH} levels, and at most
  {MAX_SECTIONS} sections in all. Three to eight main sections suit most tasks.
- If the task names sections, use those, in that order.
- Write in the language of the task.
"""

SECTION_INSTRUCTIONS = """\
You write one section of a document at a time. You get the task, the outline, what is written so
far, and the section to write.

If there are sources, find what they say about the section with the tools before you write. State
only what the task and the sources support; if they hold nothing on it, say so in one sentence.
Do not repeat what is written already.

Answer with the text of the section alone, in Markdown paragraphs: no heading, no code fence around
it, no remark about your work. If the section has subsections, write only an introduction to them,
one to three sentences. Write in the language of the task.
"""


@dataclass(frozen=True, slots=True)
class OutlineBrief:
    """What an outline is asked for with."""

    task: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SectionBrief:
    """What one section is asked for with. `path` holds the headings above the section."""

    task: str
    title: str
    heading: str
    summary: str
    path: tuple[str, ...]
    subheadings: tuple[str, ...]
    written: str


def outline_brief(task: str, sources: Sequence[str]) -> str:
    """The message that asks for an outline."""
    return "\n".join([_tag("task", task), _tag("sources", "\n".join(sources))])


def section_brief(task: str, outline: Outline, section: OutlineSection, written: str) -> str:
    """The message that asks for the text of one section."""
    headings = (f"{s.id} {s.heading}" for s in walk(outline))
    parts = {
        "task": task,
        "title": outline["title"],
        "outline": "\n".join(headings),
        "written": written[-_MAX_WRITTEN:],
        "section_path": "\n".join(section.path),
        "section_heading": section.heading,
        "section_summary": section.summary,
        "subsections": "\n".join(section.subheadings),
    }
    return "\n".join(_tag(name, text) for name, text in parts.items())


def read_brief(message: str) -> OutlineBrief | SectionBrief | None:
    """The brief that a message holds; None if it holds none."""
    if "<task>" not in message:
        return None
    if "<section_heading>" not in message:
        return OutlineBrief(_part("task", message), _lines("sources", message))
    return SectionBrief(
        task=_part("task", message),
        title=_part("title", message),
        heading=_part("section_heading", message),
        summary=_part("section_summary", message),
        path=_lines("section_path", message),
        subheadings=_lines("subsections", message),
        written=_part("written", message),
    )


def ask_again_for_outline(problem: str) -> str:
    """The message after a reply that is no outline."""
    return (
        f"That is not an outline that can be used: {problem}. "
        "Answer again with the JSON alone, in the shape asked for."
    )


def ask_again_for_text() -> str:
    """The message after an empty reply."""
    return "The reply was empty. Answer again with the text of the section alone."


def no_more_tools() -> str:
    """What a tool call gets when too many were made."""
    return "No more tool calls can be made. Answer now with what you have."


def _tag(name: str, text: str) -> str:
    return f"<{name}>\n{html.escape(text, quote=False)}\n</{name}>"


def _part(name: str, message: str) -> str:
    _, _, rest = message.partition(f"<{name}>")
    return html.unescape(rest.partition(f"</{name}>")[0]).strip()


def _lines(name: str, message: str) -> tuple[str, ...]:
    return tuple(filter(None, _part(name, message).split("\n")))
