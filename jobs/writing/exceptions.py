"""Errors of the writing graphs."""


class WritingError(Exception):
    """The chat model or the outline cannot be used. The message is shown as the job's error."""
