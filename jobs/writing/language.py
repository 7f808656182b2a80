"""Words: which language a text is in, and which of its words say something."""
# ruff: noqa: RUF001

import re
import unicodedata
from collections import Counter

from jobs.writing.stop_words import ALL_STOP_WORDS, STOP_WORDS

CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SAMPLE = 6_000
# Shorter words keep their last letter: gas, bus.
_SHORT = 4
_ES_PLURAL = ("xes", "ches", "shes", "sses", "zes")
_WORD = re.compile(rf"[{CJK}]+|[^\W_{CJK}]+(?:['’][^\W_{CJK}]+)*")
_HAN_OR_KANA = re.compile(rf"[{CJK}]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")


def language_of(text: str) -> str:
    """The language of a text as an ISO 639-1 code: en, de, fr, es, ru, zh or ja; en if unsure."""
    sample = text[:_SAMPLE]
    letters = sum(map(str.isalpha, sample)) or 1
    east_asian = len(_HAN_OR_KANA.findall(sample))
    if east_asian > letters * 0.3:
        return "ja" if len(_KANA.findall(sample)) > east_asian * 0.1 else "zh"
    if len(_CYRILLIC.findall(sample)) > letters * 0.5:
        return "ru"
    found = Counter(word.casefold() for word in _WORD.findall(sample))
    hits = {code: sum(found[w] for w in stop) for code, stop in STOP_WORDS.items()}
    best = max(hits, key=hits.__getitem__)
    return best if hits[best] > hits["en"] else "en"


def is_stop_word(word: str) -> bool:
    """Whether a word, in any of the known languages, says nothing by itself."""
    return word.casefold() in ALL_STOP_WORDS


def raw_words(text: str) -> list[str]:
    """The words of a text as they stand; a run of Chinese or Japanese is one word."""
    return _WORD.findall(text)


def word_count(text: str) -> int:
    """How many words; a Chinese or Japanese character counts as half a word."""
    runs = _WORD.findall(text)
    return sum(-(-len(run) // 2) if is_cjk(run) else 1 for run in runs)


def is_cjk(word: str) -> bool:
    """Whether a word is written in Chinese characters or kana."""
    return bool(_HAN_OR_KANA.match(word))


def keys_of(text: str) -> list[str]:
    """What a text is about, for comparing: folded words without stop words, bigrams in CJK."""
    keys: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text)):
        if is_cjk(word):
            keys.extend(_bigrams(word))
        elif not is_stop_word(word):
            keys.append(_folded(word))
    return keys


def same_key(text: str) -> str:
    """A form under which two headings or sentences that read alike are equal."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) or text.strip().casefold()


def _folded(word: str) -> str:
    folded = word.casefold().removesuffix("'s").removesuffix("’s")
    if len(folded) < _SHORT:
        return folded
    if folded.endswith("ies"):
        return folded[:-3] + "y"
    if folded.endswith(_ES_PLURAL):
        return folded[:-2]
    return folded[:-1] if folded.endswith("s") and not folded.endswith("ss") else folded


def _bigrams(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]
