"""Redactor: replaces keys, tokens, passwords and e-mail addresses by `[redacted]`. No I/O.

Secrets are recognized by format (keys of common providers, authorization headers, PEM blocks, URLs
with a password, `password=...` in text) and by the keys of mappings. Patterns are linear in the
length of any text: they use possessive quantifiers or bounded repetition.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from events.json_size import unused_key

REDACTED: Final = "[redacted]"

# Limits of the text that is held back because it may be part of an incomplete secret, and of the
# name that precedes a secret.
_MAX_WORD_CHARACTERS: Final = 8 * 1024
_MAX_HELD_CHARACTERS: Final = 64 * 1024
_MAX_NAME_CHARACTERS: Final = 128

_WORD_START: Final = r"(?<![A-Za-z0-9_-])"
_LETTERS: Final = r"A-Za-z0-9\u00c0-\u024f"
_NOT_A_VERSION: Final = rf"(?![0-9.]++(?![{_LETTERS}-]))"
_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|api[ _-]?key|access[ _-]?key"
    r"|(?:private|auth|account|subscription|signing|encryption|session)[ _-]?key|jwt|credentials?"
    r"|session[ _-]?id|x-amz-(?:signature|credential)"
    # Common words, therefore only as quoted keys of mappings.
    r"|[\"'](?:auth|bearer|cookies?|passwords|secrets|api[_-]?keys)(?=[\\\"'])"
)
# Suffix of a longer name, and quotes, which are escaped in JSON within JSON.
_NAME_END: Final = r"(?:[_-](?:key|value|hash|string)){0,2}[0-9]{0,2}(?![A-Za-z0-9])[\"'\\\]]{0,4}"
_ASSIGNMENT: Final = r"(?:\s{1,3}(?:is|was))?\s{0,4}(?:=>|:=|==?|:)\s{0,4}(?:str\s{0,2}=\s{0,2})?+"
# A quoted text ends at the next unescaped quote.
_QUOTED: Final = "|".join(
    rf"{quote}(?:[^{quote}\\\n]|\\[^\n])*+(?:{quote}|\\?\Z)?"
    rf"|\\{{1,3}}{quote}(?:[^{quote}\\\n]|\\[^{quote}\n])*+(?:\\{{0,3}}{quote}|\\?\Z)?"
    for quote in "\"'"
)
# A list or a mapping in JSON or Python syntax.
_NESTED: Final = (
    r"[\[{](?=\s{0,32}[\[{]?\s{0,32}b?\\{0,3}[\"'])"
    r"(?:[^\[\]{}]|[\[{][^\[\]{}]*+[\]}]?)*+[\]}]?"
)
_NOT_SET: Final = r"\[redacted\]|(?:null|none|true|false)(?![A-Za-z0-9_-])"
_VALUE: Final = rf"(?!{_NOT_SET})(?:b?(?:{_QUOTED})|{_NESTED}|[^\s\"'&,;)}}\]]++)"


class _Rule(NamedTuple):
    """A format of secrets. The pattern is applied only to text that contains one of `hints`."""

    hints: tuple[str, ...]  # lower case
    pattern: re.Pattern[str]
    replacement: str = REDACTED


def _rule(hints: str, pattern: str, replacement: str = REDACTED) -> _Rule:
    return _Rule(tuple(hints.split()), re.compile(pattern), replacement)


_NAMED: Final = rf"\g<name>{REDACTED}"
_NAME_HINTS: Final = "pass pwd secret token key credential session x-amz- jwt auth bearer cookie"
_RULES: Final = (
    _rule(
        "-----begin",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]|-(?!----END ))*+(?:-----END [A-Z0-9 ]{0,40}(?:-----|-{0,4}\Z))?",
    ),
    _rule(
        "://",
        r"(?<=://)(?:(?:[^\s/@\"'<>]*+@)++"
        # A password with an unescaped slash; a number before the slash is a port.
        r"|[^\s/@:\[\"'<>]*+:(?![0-9]{1,5}[/?#])[^\s@\"'<>]{0,512}+@)",
        f"{REDACTED}@",
    ),
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
    _rule("eyj", rf"{_WORD_START}eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+(?:\.[\w-]*+)?"),
    _rule(
        "sk- pk- rk-",
        rf"{_WORD_START}(?:sk|pk|rk)-(?:[\w-]{{16,}}|(?=[\w-]{{0,16}}?[0-9])[\w-]{{8,}})",
    ),
    _rule("sk_ pk_ rk_ whsec_", rf"{_WORD_START}(?:[spr]k_(?:live|test)|whsec)_[A-Za-z0-9]{{8,}}+"),
    _rule("aiza ya29.", rf"{_WORD_START}(?:AIza[\w-]{{30,}}+|ya29\.[\w-]{{20,}}+)"),
    _rule("akia asia", rf"{_WORD_START}(?:AKIA|ASIA)[A-Z0-9]{{16}}"),
    _rule(
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- pypi- gsk_ hf_ npm_ r8_ pplx- xai-"
        " tvly- lsv2_ gocspx- nvapi- pcsk_ dop_v1_",
        rf"{_WORD_START}(?:gh[oprsu]_[A-Za-z0-9]{{20,}}+|github_pat_\w{{20,}}+"
        r"|(?:glpat-|pypi-AgE)[\w-]{16,}+|(?:gsk_|hf_|npm_|r8_|pplx-|xai-)[A-Za-z0-9]{16,}+"
        r"|(?:tvly-|lsv2_[a-z]{2}_|GOCSPX-|nvapi-|pcsk_|dop_v1_)[\w-]{20,}+)",
    ),
    _rule(":aa", r"(?<![0-9])[0-9]{8,10}:AA[\w-]{30,}+"),
    _rule("sig= signature=", r"(?i)(?<=[?&])(?P<name>(?:sig|signature)=)[^\s&\"'<>]{16,}+", _NAMED),
    _rule("xox xapp-", rf"{_WORD_START}(?:xox[a-z]|xapp)-[A-Za-z0-9-]{{10,}}+"),
    _rule("hooks.slack.com", r"hooks\.slack\.com/services/[\w/]++"),
    _rule("sg.", rf"{_WORD_START}SG\.[\w-]{{16,}}+\.[\w-]{{16,}}+"),
    _rule(
        _NAME_HINTS,
        rf"(?i)(?P<name>(?:{_NAMES}){_NAME_END}{_ASSIGNMENT}|--(?:{_NAMES})\s{{1,4}}){_VALUE}",
        _NAMED,
    ),
    # A header as a pair.
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
        rf"(?<![{_LETTERS}._+-])[{_LETTERS}._+-]++(?:@|%40){_NOT_A_VERSION}"
        rf"[{_LETTERS}-]++(?:\.[{_LETTERS}-]++)++",
    ),
)


def _prefix(names: str) -> re.Pattern[str]:
    """Return the pattern of text that may precede a secret, or start its name."""
    return re.compile(
        rf"(?i)(?:(?:{names}|authorization|cookie)(?:[_-](?:key|value|hash|string)){{0,2}}[0-9]{{0,2}}"
        r"[\"'\\\]]{0,4}\s{0,4}(?:(?:is|was)\s{0,4})?(?:[:=,>]{1,2}\s{0,4})?(?:str\s{0,2}=?\s{0,2})?"
        r"(?:[\[{]\s{0,32}){0,2}"
        r"|\b(?:bearer|basic|api|access|private|auth|account|subscription|signing|encryption|session)"
        r"\s{1,4}|-----BEGIN [A-Z0-9 ]{0,40})\Z"
    )


_WORD_CHARACTERS: Final = "".join(map(chr, (*range(0x21, 0x7F), *range(0xC0, 0x250))))

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
_SUFFIXES: Final = frozenset(("value", "hash", "string", "header", "headers"))


@dataclass(frozen=True, slots=True)
class Redactor:
    """Replaces secrets in text and in JSON values by `[redacted]`.

    `patterns`: further regular expressions of secrets. `keys`: further keys of mappings, in any
    case, whose values are secrets, in JSON values and in text. `also`: a function that is applied
    to each text after the rules.
    """

    patterns: Sequence[str | re.Pattern[str]] = ()
    keys: Iterable[str] = ()
    also: Callable[[str], str] | None = None
    _rules: tuple[_Rule, ...] = field(init=False, repr=False, compare=False)
    _keys: frozenset[str] = field(init=False, repr=False, compare=False)
    _prefix: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rules = tuple(_Rule(("",), re.compile(pattern)) for pattern in self.patterns)
        keys = frozenset(_normalized(key) for key in self.keys)
        names = "|".join(re.escape(key).replace("_", "[_-]") for key in sorted(keys) if key)
        if names:
            names = rf"(?<![\w-])(?:{names})(?![\w-])"
            pattern = rf"(?i)(?P<name>{names}[\"'\\\]]{{0,4}}{_ASSIGNMENT}){_VALUE}"
            rules += (_Rule(("",), re.compile(pattern), _NAMED),)
        object.__setattr__(self, "_rules", rules + _RULES)
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "_prefix", _prefix(f"{_NAMES}|{names}" if names else _NAMES))

    def text(self, text: str) -> str:
        """Return `text` with its secrets replaced."""
        for rule in self._applicable_rules(text):
            text = rule.pattern.sub(rule.replacement, text)
        return self.also(text) if self.also else text

    def value(self, value: Any) -> Any:
        """Return a JSON value with the values of secret keys, and secrets in text, replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._object(value)
        if not isinstance(value, (list, tuple)):
            return value
        if len(value) == 2 and isinstance(value[0], str):  # noqa: PLR2004 - a header as a pair
            return [self.text(value[0]), self._item(value[0], value[1])]
        return [self.value(item) for item in value]

    def is_secret(self, key: str) -> bool:
        """Return whether the value under a key is secret: `apiKey` is, `max_tokens` is not."""
        if _normalized(key) in self._keys:
            return True
        words = [word.lower() for word in _WORDS.findall(key[-_MAX_NAME_CHARACTERS:])]
        while words and words[-1] in _SUFFIXES:
            words.pop()
        if not words:
            return False
        return (
            words[-1] in _SECRET_WORDS
            or words[-1].endswith(("password", "token", "apikey"))
            or "_".join(words[-2:]) in _SECRET_PAIRS
        )

    def safe_prefix_length(self, text: str) -> int:
        """Return the length of the prefix whose redaction later text cannot change.

        The rest may be part of a secret: an incomplete word, `password is`, a key block without
        its end.
        """
        end = max(len(text.rstrip(_WORD_CHARACTERS)), len(text) - _MAX_WORD_CHARACTERS)
        start = max(0, end - _MAX_NAME_CHARACTERS)
        prefix = self._prefix.search(text[start:end])
        if prefix:
            # The preceding characters of the word may be part of the name.
            word = text[: start + prefix.start()].rstrip(_WORD_CHARACTERS)
            end = max(len(word), start)
        safe = self._exclude_secrets(text, end)
        return safe if len(text) - safe <= _MAX_HELD_CHARACTERS else end

    def _exclude_secrets(self, text: str, end: int) -> int:
        """Return `end`, or the start of a secret that includes `end` or reaches the text's end."""
        rules = self._applicable_rules(text)
        spans = [match.span() for rule in rules for match in rule.pattern.finditer(text)]
        for start, stop in sorted(spans, reverse=True):
            if start < end and (stop > end or stop == len(text)):
                end = start
        return end

    def _applicable_rules(self, text: str) -> list[_Rule]:
        lowered = text.lower()
        return [rule for rule in self._rules if any(hint in lowered for hint in rule.hints)]

    def _object(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        counts: dict[str, int] = {}
        for key, item in value.items():
            shown = unused_key(self.text(key), found, counts) if isinstance(key, str) else key
            found[shown] = self._item(key, item)
        return found

    def _item(self, key: object, item: Any) -> Any:
        is_empty = item is None or isinstance(item, bool)
        if isinstance(key, str) and not is_empty and self.is_secret(key):
            return REDACTED
        return self.value(item)


def _normalized(key: str) -> str:
    return key.casefold().replace("-", "_")


DEFAULT_REDACTOR: Final = Redactor()
