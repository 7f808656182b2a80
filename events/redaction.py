"""What must not leave a process: keys, tokens, passwords and e-mail addresses become `[redacted]`.

Found by their form (the keys of common providers, authorization headers, PEM blocks, URLs with a
password, `password=...` in text) and by the keys of mappings. Does no I/O. No pattern backtracks:
each takes time in proportion to the text, whatever stands in it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

REDACTED: Final = "[redacted]"

# How far back a secret that is not over yet may reach: text that is held longer is let go.
_LONGEST_WORD: Final = 8 * 1024
_LONGEST_HELD: Final = 64 * 1024
_LOOK_BACK: Final = 128

_BEFORE: Final = r"(?<![A-Za-z0-9_-])"
_LETTERS: Final = r"A-Za-z0-9\u00c0-\u024f"
_NO_VERSION: Final = rf"(?![0-9.]++(?![{_LETTERS}-]))"
_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|api[ _-]?key|access[ _-]?key"
    r"|(?:private|auth|account|subscription|signing|encryption|session)[ _-]?key|jwt|credentials?"
    r"|session[ _-]?id|x-amz-(?:signature|credential)"
    # Too common as words of a text, but for mappings.
    r"|[\"'](?:auth|bearer|cookies?|passwords|secrets|api[_-]?keys)(?=[\\\"'])"
)
# The end of a longer name, and quotes: escaped ones, where JSON stands in JSON.
_NAME_END: Final = r"(?:[_-](?:key|value|hash|string)){0,2}[0-9]{0,2}(?![A-Za-z0-9])[\"'\\\]]{0,4}"
_ASSIGNS: Final = r"(?:\s{1,3}(?:is|was))?\s{0,4}(?:=>|:=|==?|:)\s{0,4}(?:str\s{0,2}=\s{0,2})?+"
# A quote ends at the next that is as it is: not at one of its own text, which is escaped.
_QUOTED: Final = "|".join(
    rf"{quote}(?:[^{quote}\\\n]|\\[^\n])*+(?:{quote}|\\?\Z)?"
    rf"|\\{{1,3}}{quote}(?:[^{quote}\\\n]|\\[^{quote}\n])*+(?:\\{{0,3}}{quote}|\\?\Z)?"
    for quote in "\"'"
)
# A list or a mapping, as JSON and Python write them, with what stands in it.
_NESTED: Final = (
    r"[\[{](?=\s{0,32}[\[{]?\s{0,32}b?\\{0,3}[\"'])"
    r"(?:[^\[\]{}]|[\[{][^\[\]{}]*+[\]}]?)*+[\]}]?"
)
_NOT_SET: Final = r"\[redacted\]|(?:null|none|true|false)(?![A-Za-z0-9_-])"
_VALUE: Final = rf"(?!{_NOT_SET})(?:b?(?:{_QUOTED})|{_NESTED}|[^\s\"'&,;)}}\]]++)"


class _Rule(NamedTuple):
    """A form of secret. Where none of `hints` stands, in lower case, none is looked for."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    put: str = REDACTED


def _rule(hints: str, pattern: str, put: str = REDACTED) -> _Rule:
    return _Rule(tuple(hints.split()), re.compile(pattern), put)


_NAMED: Final = rf"\g<name>{REDACTED}"
_NAME_HINTS: Final = "pass pwd secret token key credential session x-amz- jwt auth bearer cookie"
_RULES: Final = (
    _rule(
        "-----begin",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]|-(?!----END ))*+(?:-----END [A-Z0-9 ]{0,40}(?:-----|-{0,4}\Z))?",
    ),
    _rule("://", r"(?<=://)(?:[^\s/@\"'<>]*+@)++", f"{REDACTED}@"),
    _rule(
        "authorization",
        r"(?i)(?P<name>authorization[\"'\\\]]{0,4}\s{0,4}(?:[:=]|,\s{0,2}b?(?=[\"']))\s{0,4}+)"
        rf"(?!\[redacted\])(?:{_QUOTED}|[^\r\n\"'}}]++)",
        _NAMED,
    ),
    _rule(
        "cookie",
        r"(?i)(?P<name>cookie[\"'\\\]]{0,4}\s{0,4}(?:[:=]|,\s{0,2}b?(?=[\"']))\s{0,4}+)"
        rf"(?!\[redacted\])(?=[\"'\\]{{0,4}}[\w.%-]{{1,128}}=)(?:{_QUOTED}|[^\r\n\"'}}]++)",
        _NAMED,
    ),
    _rule(
        "bearer basic",
        r"(?i)(?P<name>\b(?:bearer|basic)[ \t]{1,4})"
        r"(?:(?=[\w.~+/-]{0,512}?[0-9=])[\w.~+/=-]{6,}|[\w.~+/=-]{20,})",
        _NAMED,
    ),
    _rule("eyj", rf"{_BEFORE}eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+(?:\.[\w-]*+)?"),
    _rule(
        "sk- pk- rk-",
        rf"{_BEFORE}(?:sk|pk|rk)-(?:[\w-]{{16,}}|(?=[\w-]{{0,16}}?[0-9])[\w-]{{8,}})",
    ),
    _rule("sk_ pk_ rk_ whsec_", rf"{_BEFORE}(?:[spr]k_(?:live|test)|whsec)_[A-Za-z0-9]{{8,}}+"),
    _rule("aiza ya29.", rf"{_BEFORE}(?:AIza[\w-]{{30,}}+|ya29\.[\w-]{{20,}}+)"),
    _rule("akia asia", rf"{_BEFORE}(?:AKIA|ASIA)[A-Z0-9]{{16}}"),
    _rule(
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        rf"{_BEFORE}(?:gh[oprsu]_[A-Za-z0-9]{{20,}}+|github_pat_\w{{20,}}+)",
    ),
    _rule("glpat- pypi-", rf"{_BEFORE}(?:glpat-|pypi-AgE)[\w-]{{16,}}+"),
    _rule(
        "gsk_ hf_ npm_ r8_ pplx- xai-",
        rf"{_BEFORE}(?:gsk_|hf_|npm_|r8_|pplx-|xai-)[A-Za-z0-9]{{16,}}+",
    ),
    _rule(
        "tvly- lsv2_ gocspx- nvapi- pcsk_ dop_v1_",
        rf"{_BEFORE}(?:tvly-|lsv2_[a-z]{{2}}_|GOCSPX-|nvapi-|pcsk_|dop_v1_)[\w-]{{20,}}+",
    ),
    _rule(":aa", r"(?<![0-9])[0-9]{8,10}:AA[\w-]{30,}+"),
    _rule("sig= signature=", r"(?i)(?<=[?&])(?P<name>(?:sig|signature)=)[^\s&\"'<>]{16,}+", _NAMED),
    _rule("xox xapp-", rf"{_BEFORE}(?:xox[a-z]|xapp)-[A-Za-z0-9-]{{10,}}+"),
    _rule("hooks.slack.com", r"hooks\.slack\.com/services/[\w/]++"),
    _rule("sg.", rf"{_BEFORE}SG\.[\w-]{{16,}}+\.[\w-]{{16,}}+"),
    _rule(
        _NAME_HINTS,
        rf"(?i)(?P<name>(?:{_NAMES}){_NAME_END}{_ASSIGNS}|--(?:{_NAMES})\s{{1,4}}){_VALUE}",
        _NAMED,
    ),
    # A header, as lists have it.
    _rule(
        _NAME_HINTS,
        rf"(?i)(?P<name>[\[(]b?[\"'][\w.-]{{0,64}}(?:{_NAMES}){_NAME_END},\s{{0,4}})"
        rf"b?(?:{_QUOTED})(?=\s{{0,4}}[\])]|\Z)",
        _NAMED,
    ),
    _rule(
        "pass pwd",
        r"(?i)(?P<name>\b(?:password|passwd|passphrase|passcode|pwd)\s{1,4}(?:(?:is|was)\s{1,4})?"
        r"[\"']?)(?=[A-Za-z]{0,64}[0-9!@#$%^&*])[^\s\"',;)}\]]{5,}+",
        _NAMED,
    ),
    _rule(
        "@ %40",
        rf"(?<![{_LETTERS}._+-])[{_LETTERS}._+-]++(?:@|%40){_NO_VERSION}"
        rf"[{_LETTERS}-]++(?:\.[{_LETTERS}-]++)++",
    ),
)


def _opener(names: str) -> re.Pattern[str]:
    """After what a secret may come, and what such words begin with."""
    return re.compile(
        rf"(?i)(?:(?:{names}|authorization|cookie)(?:[_-](?:key|value|hash|string)){{0,2}}[0-9]{{0,2}}"
        r"[\"'\\\]]{0,4}\s{0,4}(?:(?:is|was)\s{0,4})?(?:[:=,>]{1,2}\s{0,4})?(?:str\s{0,2}=?\s{0,2})?"
        r"(?:[\[{]\s{0,32}){0,2}"
        r"|\b(?:bearer|basic|api|access|private|auth|account|subscription|signing|encryption|session)"
        r"\s{1,4}|-----BEGIN [A-Z0-9 ]{0,40})\Z"
    )


def _named_by(keys: Iterable[str]) -> str:
    """A pattern for keys of the user's, as text has them; empty if there are none."""
    names = "|".join(re.escape(key).replace("_", "[_-]") for key in sorted(keys) if key)
    return rf"(?<![\w-])(?:{names})(?![\w-])" if names else ""


_OF_WORDS: Final = "".join(map(chr, (*range(0x21, 0x7F), *range(0xC0, 0x250))))

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS: Final = frozenset((
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets", "token", "apikey",
    "authorization", "auth", "cookie", "cookies", "credential", "credentials", "jwt", "bearer",
    "accesskey", "privatekey", "sessionid", "passwords", "apikeys",
))  # fmt: skip
_SECRET_PAIRS: Final = frozenset((
    "api_key", "access_key", "private_key", "secret_key", "auth_key", "signing_key",
    "encryption_key", "session_id", "session_key", "pass_word", "pass_phrase", "api_keys",
    "account_key", "subscription_key",
))  # fmt: skip
_OF_SECRETS: Final = frozenset(("value", "hash", "string", "header", "headers"))


@dataclass(frozen=True, slots=True)
class Redactor:
    """Replaces secrets in text and in JSON values.

    `patterns` are regular expressions of yours, whose matches are replaced too; `keys` are keys of
    mappings, in any case, whose values are, also where a mapping stands in text; `also` is a
    function of yours that is given every text when the rest is done.
    """

    patterns: Sequence[str | re.Pattern[str]] = ()
    keys: Iterable[str] = ()
    also: Callable[[str], str] | None = None
    _rules: tuple[_Rule, ...] = field(init=False, repr=False, compare=False)
    _keys: frozenset[str] = field(init=False, repr=False, compare=False)
    _opener: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = tuple(_Rule(("",), re.compile(pattern)) for pattern in self.patterns)
        keys = frozenset(_plain(key) for key in self.keys)
        names = _named_by(keys)
        if names:
            pattern = rf"(?i)(?P<name>{names}[\"'\\\]]{{0,4}}{_ASSIGNS}){_VALUE}"
            given += (_Rule(("",), re.compile(pattern), _NAMED),)
        object.__setattr__(self, "_rules", given + _RULES)
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_opener", _opener(f"{_NAMES}|{names}" if names else _NAMES))

    def text(self, text: str) -> str:
        """`text` with `[redacted]` for each secret."""
        lowered = text.lower()
        for rule in self._rules:
            if any(hint in lowered for hint in rule.hints):
                text = rule.pattern.sub(rule.put, text)
        return self.also(text) if self.also else text

    def value(self, value: Any) -> Any:
        """A JSON value with `[redacted]` for the values of secret keys, and for secrets in text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(key) if isinstance(key, str) else key: self._of_key(key, item)
                for key, item in value.items()
            }
        if not isinstance(value, (list, tuple)):
            return value
        if len(value) == 2 and isinstance(value[0], str):  # noqa: PLR2004 - a header, as lists have it
            return [self.text(value[0]), self._of_key(value[0], value[1])]
        return [self.value(item) for item in value]

    def is_secret(self, key: str) -> bool:
        """Whether what a mapping has under `key` is secret: `apiKey` is, `max_tokens` is not."""
        if _plain(key) in self._keys:
            return True
        words = [word.lower() for word in _WORDS.findall(key[-_LOOK_BACK:])]
        while words and words[-1] in _OF_SECRETS:
            words.pop()
        if not words:
            return False
        return (
            words[-1] in _SECRET_WORDS
            or words[-1].endswith(("password", "token", "apikey"))
            or "_".join(words[-2:]) in _SECRET_PAIRS
        )

    def settled(self, text: str) -> int:
        """How much of a text that goes on can be redacted now, whatever comes after it.

        Behind it stands what may be a part of a secret: a word that is not over, `password is`,
        a key block without its end.
        """
        end = max(len(text.rstrip(_OF_WORDS)), len(text) - _LONGEST_WORD)
        before = max(0, end - _LOOK_BACK)
        opener = self._opener.search(text[before:end])
        if opener:
            # From the word's beginning, which may be a part of the name.
            end = max(len(text[: before + opener.start()].rstrip(_OF_WORDS)), before)
        first = self._before_secrets(text, end)
        return first if len(text) - first <= _LONGEST_HELD else end

    def _before_secrets(self, text: str, end: int) -> int:
        """`end`, or where a secret begins that reaches over it, or that has no end as yet."""
        for start, stop in sorted(self._spans(text), reverse=True):
            if start < end and (stop > end or stop == len(text)):
                end = start
        return end

    def _spans(self, text: str) -> list[tuple[int, int]]:
        lowered = text.lower()
        return [
            match.span()
            for rule in self._rules
            if any(hint in lowered for hint in rule.hints)
            for match in rule.pattern.finditer(text)
        ]

    def _of_key(self, key: object, item: Any) -> Any:
        says_nothing = item is None or isinstance(item, bool)
        if isinstance(key, str) and not says_nothing and self.is_secret(key):
            return REDACTED
        return self.value(item)


def _plain(key: str) -> str:
    return key.casefold().replace("-", "_")


DEFAULT_REDACTOR: Final = Redactor()
