"""What can go wrong while a document is planned and written."""


class WritingError(Exception):
    """The document could not be planned or written.

    WritingError
    ├── ModelNameError     the name of the chat model is wrong, or its package is missing
    ├── OutlineError       an outline does not have the shape of an outline
    └── ModelReplyError    a chat model's reply is of no use, twice
    """


class ModelNameError(WritingError):
    """The chat model cannot be set up from the name given."""


class OutlineError(WritingError):
    """An outline does not have the shape of an outline.

    `path` names the bad part, such as ``outline.sections[0].heading``.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class ModelReplyError(WritingError):
    """The chat model gave nothing that can be used, and again after being told so."""
