"""Sentences: splitting a text into them, and lifting the ones that say most."""
# ruff: noqa: RUF001

import re
from collections import Counter
from collections.abc import Sequence
from math import log

from jobs.writing.language import CJK, is_cjk, is_stop_word, keys_of, same_key, word_count

MAX_SENTENCE = 1_000
SUMMARY_CHARACTERS = 240
_SHORT_SUMMARY = 60
_MIN_WORDS = 4
_SPACE_BETWEEN_CJK = re.compile(rf"(?<=[{CJK}。，、；：！？]) (?=[{CJK}。，、；：！？])")
# The look-behind lets a match begin only at the start of a run, so "......" stays linear.
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s|$)|(?<![。！？])[。！？]++[」』”’）]*+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“„«])(?:e\.g|i\.e|a\.k\.a|cf|vs|approx|nr|vol|fig|pp?|ca|c|mr|mrs|ms|dr"
    r"|prof|st|jr|sr|inc|ltd|co|z\.\s?b|d\.\s?h|u\.\s?a|bzw|usw|evtl|ggf|p\.\s?ej|m|mme|\w|\d{1,2})$",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,;:–—，、；：]")
_CLAUSE_START = re.compile(r"(?:[,;:(](?=\s)|\s[–—(]|[，、；：（])")
_MAX_OPENING = 68
_MAX_CJK_OPENING = 24
_DANGLING = re.compile(
    r"^(?:this|that|these|those|it|its|he|she|they|their|but|and|or|so|however|also|then|thus"
    r"|therefore|instead|dies|diese|das|es|sie|er|aber|und|doch|cela|ceci|il|elle|mais|esto|eso"
    r"|pero)\b",
    re.IGNORECASE,
)


def one_line(text: str) -> str:
    """The text on one line; no space is left between Chinese characters."""
    return _SPACE_BETWEEN_CJK.sub("", " ".join(text.split()))


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph, each of at most `MAX_SENTENCE` characters."""
    text = one_line(text)
    sentences: list[str] = []
    start = 0
    for match in _END.finditer(text):
        if _ends_sentence(text, match):
            sentences.extend(_pieces(text[start : match.end()].strip()))
            start = match.end()
    sentences.extend(_pieces(text[start:].strip()))
    return sentences


def is_statement(sentence: str) -> bool:
    """Whether a sentence stands by itself: four words or more, mostly letters, not a lead-in."""
    letters = sum(map(str.isalpha, sentence))
    enough = word_count(sentence) >= _MIN_WORDS
    return enough and letters * 2 > len(sentence) and not sentence.endswith((":", "："))


def clip(text: str, limit: int = SUMMARY_CHARACTERS) -> str:
    """The text's first sentences, up to `limit` characters; one long sentence ends with "…"."""
    kept = ""
    for sentence in split_sentences(text):
        joined = join_sentences([kept, sentence])
        if len(joined) > limit:
            break
        kept = joined
    return kept or cut(one_line(text), limit)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of a line, cut where a clause or a word ends, then "…"."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    clauses = [match.start() for match in _CLAUSE.finditer(head, limit // 2)]
    space = head.rfind(" ", limit // 2)
    end = clauses[-1] if clauses else space if space != -1 else len(head)
    return head[:end].rstrip(" ,;:–—，、；：") + "…"


def join_sentences(sentences: Sequence[str]) -> str:
    """Sentences as one paragraph; no space after a Chinese or Japanese full stop."""
    text = " ".join(sentence for sentence in sentences if sentence)
    return re.sub(r"(?<=[。！？」』]) (?=\S)", "", text)


def key_sentences(sentences: Sequence[str], count: int) -> list[str]:
    """The `count` sentences nearest to what all of them are about, in their own order."""
    if len(sentences) <= count:
        return list(sentences)
    weights = Counter(key for sentence in sentences for key in set(keys_of(sentence)))
    scores = [
        _centrality(sentence, weights) + 1.5 / (place + 1)
        for place, sentence in enumerate(sentences)
    ]
    best = sorted(range(len(sentences)), key=lambda place: (-scores[place], place))[:count]
    return [sentences[place] for place in sorted(best)]


def lead_passage(text: str, heading: str = "") -> str:
    """The lead sentence of a text and, if that is short, what follows; "" if there is no text.

    A sentence that begins with the words of a long `heading` is left out, if others are there.
    """
    sentences = split_sentences(text)
    if word_count(heading) >= _MIN_WORDS:
        others = [s for s in sentences if not same_key(s).startswith(same_key(heading))]
        sentences = others if any(map(is_statement, others)) else sentences
    lead = lead_sentence(sentences)
    if not is_statement(lead) or len(lead) >= _SHORT_SUMMARY:
        return clip(lead)
    following = sentences[sentences.index(lead) + 1 :][:2]
    return clip(join_sentences([lead, *following[:1]]))


def lead_sentence(sentences: Sequence[str]) -> str:
    """The first of the sentences that stands by itself, or the first of all, or ""."""
    stated = [sentence for sentence in sentences[:20] if is_statement(sentence)]
    whole = [sentence for sentence in stated[:4] if not _DANGLING.match(sentence)]
    return next(iter(whole or stated or sentences), "")


def opening_words(sentence: str) -> str:
    """The sentence's first clause, short enough for a heading and without a full stop."""
    bare = sentence.rstrip(".!?…。！？")
    limit = _MAX_CJK_OPENING if is_cjk(bare) else _MAX_OPENING
    ends = [match.start() for match in _CLAUSE_START.finditer(bare)]
    clauses = [bare[:end] for end in [*ends, len(bare)]]
    whole = [c for c in clauses if len(c) <= limit and word_count(c) >= _MIN_WORDS]
    opening = whole[-1] if whole else _cut_before_stop_word(bare, limit)
    return opening[:1].upper() + opening[1:]


def _cut_before_stop_word(text: str, limit: int) -> str:
    """The most words that fit and are followed by "of", "that", "in" and the like."""
    if len(text) <= limit or is_cjk(text):
        return cut(text, limit)
    fitting = len(text[: limit + 1].split()) - 1
    words = text[: 2 * limit].split()
    for count in range(fitting, _MIN_WORDS - 1, -1):
        if is_stop_word(words[count]) and not is_stop_word(words[count - 1]):
            return " ".join(words[:count]).rstrip(" ,;:–—")
    return cut(text, limit)


def _centrality(sentence: str, weights: Counter[str]) -> float:
    keys = set(keys_of(sentence))
    if not keys or not is_statement(sentence):
        return 0.0
    dangling = 0.7 if _DANGLING.match(sentence) else 1.0
    return dangling * sum(log(1 + weights[key]) for key in keys) / (3 + len(keys))


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    if match.group()[0] in "。！？":
        return True
    following = text[match.end() : match.end() + 2].strip()
    if following and following[0].islower():
        return False
    before = text[max(0, match.start() - 12) : match.start()]
    return match.group() != "." or not following or not _ABBREVIATION.search(before)


def _pieces(sentence: str) -> list[str]:
    pieces = []
    while len(sentence) > MAX_SENTENCE:
        space = sentence.rfind(" ", MAX_SENTENCE // 2, MAX_SENTENCE)
        end = space if space != -1 else MAX_SENTENCE
        pieces.append(sentence[:end])
        sentence = sentence[end:].lstrip()
    return [*pieces, sentence] if sentence else pieces
