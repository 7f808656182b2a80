"""Extracts the translatable texts into the message catalogs: `python docs/generate_messages.py`.

It replaces `makemessages` and `compilemessages`, without gettext: it writes the `.po` files with
the texts of the sources and the present translations, and compiles the `.mo` files. With `--check`
it writes nothing and fails for an incomplete catalog, and for files that differ from their sources.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import polib

ROOT = Path(__file__).resolve().parents[1]
# The directory of a locale folder, and the directories of its sources.
CATALOGS: Final[Mapping[str, tuple[str, ...]]] = {
    "events": ("events",),
    "jobs": ("jobs", "templates"),
    "config/demo": ("config",),
}
# The plural forms of Django's catalogs.
LANGUAGES: Final[Mapping[str, str]] = {
    "de": "nplurals=2; plural=(n != 1);",
    "zh_Hans": "nplurals=1; plural=0;",
}
# Functions that mark a text, and their arguments: context, text, plural.
MARKERS: Final[Mapping[str, tuple[int | None, int, int | None]]] = {
    "_": (None, 0, None),
    "gettext": (None, 0, None),
    "gettext_lazy": (None, 0, None),
    "gettext_noop": (None, 0, None),
    "ErrorText": (None, 0, None),
    "ngettext": (None, 0, 1),
    "ngettext_lazy": (None, 0, 1),
    "pgettext": (0, 1, None),
    "pgettext_lazy": (0, 1, None),
    "npgettext": (0, 1, 2),
    "npgettext_lazy": (0, 1, 2),
}
# Exceptions whose docstring is the text for a client, unless they are raised with another one.
CLIENT_ERRORS: Final = frozenset(
    {
        "AlreadyAnswered", "BadMessage", "EventTooLarge", "IdempotencyConflict", "InputNotFound",
        "InvalidCursor", "InvalidEvent", "InvalidJobId", "InvalidTicket", "InvalidTransition",
        "JobExists", "JobNotFound", "LogDeleted", "NotAStream", "StaleAttempt",
    }
)  # fmt: skip
_STRING: Final = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# What `templatize` leaves of a template: calls of the functions above between runs of X.
_CALL: Final = re.compile(rf"\b(_|n?p?gettext)\(((?:\s*(?:{_STRING}|\w+)\s*,?)+)\)", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"%\(\w+\)[-+ #0]*[\d.]*[a-z]|%%|%[sd]|\{\w*\}|</?\w+[^>]*>")
_WIDTH: Final = 100


class Message(NamedTuple):
    """A translatable text; the context and the plural are empty if it has none."""

    context: str
    text: str
    plural: str = ""


def messages_of_code(code: str, name: str) -> Iterator[Message]:
    """Yield the marked texts of Python code, and the docstrings that are texts of errors."""
    for node in ast.walk(ast.parse(code, name)):
        if isinstance(node, ast.Call):
            function = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if function in MARKERS:
                yield from _message_of_call(node, MARKERS[function], name)
        elif isinstance(node, ast.ClassDef) and node.name in CLIENT_ERRORS:
            yield Message("", (ast.get_docstring(node) or "").partition("\n")[0])


def _message_of_call(
    call: ast.Call, positions: tuple[int | None, int, int | None], name: str
) -> Iterator[Message]:
    given = [
        call.args[each] if each is not None and each < len(call.args) else None
        for each in positions
    ]
    texts = [each.value if isinstance(each, ast.Constant) else "" for each in given]
    if any(isinstance(each, ast.JoinedStr | ast.BinOp | ast.IfExp) for each in given):
        raise SystemExit(f"{name}:{call.lineno}: a text must be one literal, not an expression.")
    if isinstance(texts[1], str) and texts[1]:
        yield Message(*texts)


def messages_of_template(source: str, name: str) -> Iterator[Message]:
    """Yield the texts of the translation tags of a template."""
    from django.utils.translation.template import templatize  # noqa: PLC0415 - needs settings

    for function, arguments in _CALL.findall(templatize(source, name)):
        yield from messages_of_code(f"{function}({arguments.strip()})", name)


def extracted(directories: tuple[str, ...]) -> dict[Message, list[str]]:
    """Return the texts of the sources, and the files of each, both sorted."""
    found = defaultdict[Message, set[str]](set)
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".py":
                messages = messages_of_code(path.read_text("utf-8"), name)
            elif path.suffix in (".html", ".txt") and "templates" in path.parts:
                messages = messages_of_template(path.read_text("utf-8"), name)
            else:
                continue
            for message in messages:
                found[message].add(name)
    order = sorted(found, key=lambda each: (each.text, each.context, each.plural))
    return {message: sorted(found[message]) for message in order}


def merged(
    sources: Mapping[Message, list[str]], present: polib.POFile, language: str
) -> polib.POFile:
    """Return the catalog of the sources with the present translations; without line numbers."""
    catalog = polib.POFile(wrapwidth=_WIDTH)
    catalog.header = present.header or "Translations of django-job-events."
    catalog.metadata = {
        "Project-Id-Version": "django-job-events",
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Plural-Forms": LANGUAGES[language],
    }
    translated = {(each.msgctxt or "", each.msgid): each for each in present}
    for message, files in sources.items():
        old = translated.get(message[:2])
        entry = polib.POEntry(
            msgid=message.text,
            msgctxt=message.context or None,
            comment=old.comment if old else "",
            tcomment=old.tcomment if old else "",
            occurrences=[(file, "") for file in files],
            flags=[*_format_of(message), *(["fuzzy"] if old and old.fuzzy else [])],
        )
        if message.plural:
            entry.msgid_plural = message.plural
            count = int(LANGUAGES[language].partition("=")[2].partition(";")[0])
            given = old.msgstr_plural if old else {}
            entry.msgstr_plural = {index: given.get(index, "") for index in range(count)}
        else:
            entry.msgstr = old.msgstr if old else ""
        catalog.append(entry)
    return catalog


def _format_of(message: Message) -> list[str]:
    if re.search(r"%\(\w+\)", message.text + message.plural):
        return ["python-format"]
    return ["python-brace-format"] if re.search(r"\{\w+\}", message.text) else []


def faults_of(entry: polib.POEntry) -> Iterator[str]:
    """Yield what is wrong with a translation."""
    if entry.fuzzy:
        yield "fuzzy"
    sources = [entry.msgid]
    translations = [entry.msgstr]
    if entry.msgid_plural:
        translations = list(entry.msgstr_plural.values())
        # The last form is the general one; a language with one form uses it for each number.
        sources = [entry.msgid, entry.msgid_plural][-len(translations) :]
    for source, translation in zip(sources, translations, strict=True):
        if not translation:
            yield "untranslated"
        elif placeholders(source) != placeholders(translation):
            yield "other placeholders or tags"
        elif _margins(source) != _margins(translation):
            yield "other whitespace at an end"


def placeholders(text: str) -> list[str]:
    """Return the placeholders and HTML tags of a text, sorted."""
    return sorted(_PLACEHOLDER.findall(text))


def _margins(text: str) -> tuple[bool, ...]:
    return text.startswith("\n"), text.endswith("\n")


def catalog_text(catalog: polib.POFile) -> str:
    """Return the text of a `.po` file."""
    return f"{str(catalog).rstrip()}\n"


class Catalog(NamedTuple):
    """A catalog of a language: its path without suffix, and what its files have to contain."""

    path: Path
    content: polib.POFile

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Yield the files of the catalog, and their contents."""
        yield self.path.with_suffix(".po"), catalog_text(self.content).encode()
        yield self.path.with_suffix(".mo"), self.content.to_binary()

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the catalog and its files."""
        for entry in self.content:
            for fault in faults_of(entry):
                yield f"{self._name(self.path.with_suffix('.po'))}: {fault}: {entry.msgid!r}"
        for path, content in self.files():
            if not path.exists() or path.read_bytes() != content:
                yield f"{self._name(path)} differs from its sources: run {Path(__file__).name}."

    def _name(self, path: Path) -> Path:
        return path.relative_to(ROOT)


def catalogs() -> Iterator[Catalog]:
    """Yield the catalogs of each directory and language."""
    for directory, sources in CATALOGS.items():
        messages = extracted(sources)
        for language in LANGUAGES:
            path = ROOT / directory / "locale" / language / "LC_MESSAGES" / "django"
            po = path.with_suffix(".po")
            present: Any = polib.pofile(po.read_text("utf-8")) if po.exists() else polib.POFile()
            yield Catalog(path, merged(messages, present, language))


def main(arguments: list[str]) -> int:
    """Write the catalogs, or check them. Returns the exit status."""
    from django.conf import settings  # noqa: PLC0415 - templatize reads the charset

    if not settings.configured:
        settings.configure()
    found = list(catalogs())
    if "--check" in arguments:
        faults = [fault for catalog in found for fault in catalog.faults()]
        print("\n".join(faults), end="\n" if faults else "")  # noqa: T201
        return bool(faults)
    for catalog in found:
        catalog.path.parent.mkdir(parents=True, exist_ok=True)
        for path, content in catalog.files():
            path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
