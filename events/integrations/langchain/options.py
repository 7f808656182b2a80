"""What of a run is recorded in the log, field by field."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from events.redaction import DEFAULT_REDACTOR, Redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What a log may hold of a run. All of it goes through `redactor`, and is cut if it is large.

    `prompts`: what models are asked, or the roles of which it is (`{"system"}`). `tool_inputs`:
    the arguments of tools, or the names of those that are shown. `tool_outputs`: what tools answer.
    `model_text`: what models say. `queries`, `documents`: what retrievers are asked and find.
    `custom_events`: the data of custom events. `metadata`: that of the run's config. `tracebacks`:
    where in your code an error was raised. `max_characters`: how much of one value is kept.
    """

    prompts: bool | Collection[str] = False
    tool_inputs: bool | Collection[str] = False
    tool_outputs: bool = True
    model_text: bool = True
    queries: bool = False
    documents: bool = False
    custom_events: bool = True
    metadata: bool = False
    tracebacks: bool = True
    redactor: Redactor = DEFAULT_REDACTOR
    max_characters: int = 32 * 1024


DEFAULTS: Final = RecordOptions()


def is_shown(option: bool | Collection[str], name: str) -> bool:
    """Whether an option that is a flag, or names what is shown, shows `name`."""
    return option if isinstance(option, bool) else name in option
