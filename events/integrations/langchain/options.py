"""RecordOptions: the parts of a run that are recorded in the log."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from events.redaction import DEFAULT_REDACTOR, Redactor


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The parts of a run that a log contains. Every value is redacted, and cut if it is large.

    `prompts`: messages to models, or only those of the given roles (`{"system"}`).
    `tool_inputs`: arguments of tools, or only those with the given names. `tool_outputs`: results
    of tools. `model_text`: text of models. `queries`, `documents`: input and output of retrievers.
    `custom_events`: data of custom events. `metadata`: metadata of the run's config. `tracebacks`:
    the user's frames of an error. `max_characters`: size limit of a value.
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
