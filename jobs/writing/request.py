"""What a person asks for: the title, the subject and the sections that a prompt names."""
# ruff: noqa: RUF001

import re
from dataclasses import dataclass
from itertools import chain

from jobs.writing.language import CJK, language_of
from jobs.writing.markdown import plain
from jobs.writing.phrases import phrases_for
from jobs.writing.sentences import cut, one_line, split_sentences
from jobs.writing.sources import clean_text

MAX_TITLE = 100
MAX_SECTION = 80
# So many things after a colon are sections; fewer may be a subtitle.
_ENUMERATED = 3
_MAX_PROMPT = 20_000
_POLITE = re.compile(
    r"^(?:please|kindly|hello|hi|hey|(?:can|could|would|will) you(?: please)?|i(?:'d| would) like"
    r"(?: you)?(?: to)?|i (?:want|need)(?: you)?(?: to)?|help me(?: to)?|bitte|könntest du"
    r"|kannst du|s'il (?:te|vous) plaît|por favor|пожалуйста)\b[\s,:!]*",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"^(?:(?:please )?(?:write|create|produce|prepare|compose|generate|make|give"
    r"|explain|describe|discuss|summari[sz]e|(?:draft|outline|plan)(?! (?:for|of|to|about)))"
    r"(?: me| us| up)?"
    r"|schreiben? sie|schreibe?|erstellen? sie|erstelle?|verfassen? sie|verfasse?"
    r"|erkläre?n?(?: sie)?"
    r"|beschreibe?n?(?: sie)?|rédige[zr]?|écri(?:s|vez|re)|explique[zr]?|décri(?:s|vez|re)"
    r"|escrib[ea]|redact[ea]|explica|describe|напиши(?:те)?|составь(?:те)?|опиши(?:те)?)"
    r"(?:\s+(?:mir|uns|bitte|nous|moi|me|мне))*\b[\s,:]*",
    re.IGNORECASE,
)
_FORM = (
    r"(?:short |brief |long |detailed |concise |one-page |two-page |kurzen? |courte? |breve )*"
    r"(?:document|text|essay|article|piece|paper|page|post|blog post|story|something|text|aufsatz"
    r"|artikel|dokument|texte|document|essai|artículo|ensayo|texto|documento|текст|статью|документ)"
)
_GENERIC_FORM = re.compile(
    rf"^(?:(?:an?|the|some|einen?|ein|un|une|el|la)\s+)?{_FORM}\s+"
    r"(?:about|on|of|that explains|explaining|describing|über|zum thema|zu|sur|sobre|acerca de"
    r"|о|об)"
    r"\s+(?:(?:das|den|dem|der|die)\s+)?(?:thema\s+)?",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"^(?:about|on|over|über|sur|sobre|о|об)\s+", re.IGNORECASE)
_ENUMERATION = re.compile(
    r"[\s,;:—–(-]+(?:(?:which|that|and|it|please)\s+(?:(?:should|must|to)\s+)?(?:covers?|includes?)"
    r"|(?:and )?(?:covering|including|touching on|dealing with|discussing)"
    r"|with (?:the )?(?:sections?|chapters?|headings?|parts)(?: (?:on|about|for|called))?"
    r"|(?:sections?|chapters?|topics?|headings?|contents?)\s*(?=:)"
    r"|mit (?:den )?(?:abschnitten|kapiteln|themen)(?: (?:zu|über))?|einschließlich|darunter"
    r"|couvrant|comprenant|y compris|avec (?:les )?(?:sections|chapitres|parties)"
    r"|que (?:cubra|incluya)|incluyendo|con (?:las )?(?:secciones|capítulos)"
    r"|включая|охватывая|с разделами)\b[\s:]*",
    re.IGNORECASE,
)
_COVER_SENTENCE = re.compile(
    r"^(?:(?:please|it|the (?:text|document|article|essay)|i want it to)\s+)?"
    r"(?:(?:should|must|to)\s+)?"
    r"(?:cover|include|deal with|sections?|chapters?|topics?|headings?)\b(?: are| be)?[\s:]*",
    re.IGNORECASE,
)
_CJK_VERB = re.compile(
    r"^(?:请|請)?(?:你|您)?(?:帮我|帮忙|为我|给我)?(?:写|撰写|编写|起草|生成|介绍|解释|说明|描述)"
    r"(?:一下|一篇|一份|一个|一部|个|篇|份)?"
)
_CJK_SUBJECT = re.compile(
    rf"^(?:有关|关于|關於|介绍|讲述)?([{CJK}\w\s]{{1,60}}?)的(?:文章|文档|短文|文件|介绍|作文)$"
)
_CJK_ENUMERATION = re.compile(
    r"[，,：:；。\s]*(?:内容)?(?:包括|涵盖|包含|涉及|分为|分別|介绍|章节)[：:]?"
)
_JAPANESE_ABOUT = re.compile(
    r"について(?:の文章を|の記事を)?(?:書いて|説明して|教えて)?(?:ください|下さい)?$"
)
_LENGTH = re.compile(
    r"[\s,]+(?:in|of|with|on|within)\s+(?:about |around |no more than |at most |under |up to )?"
    r"(?:\d[\d,.]*|one|two|three|four|five|ten|a few)\s+(?:words|pages?|paragraphs|sentences)\b.*$",
    re.IGNORECASE,
)
_LISTED = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,2}[.)、])[ \t]*(\S.{0,160})$", re.MULTILINE)
_AND = re.compile(r"\s+(?:and|und|et|y|e|и|&|as well as|sowie)\s+|以及|和|及|与", re.IGNORECASE)
_LEADING_AND = re.compile(r"^(?:and|und|et|y|и|&|also|finally|以及|和)\s*", re.IGNORECASE)
_COMMA = re.compile(r"\s*[,;，；、]\s*")
_LATIN_AND = re.compile(r"\s+(?:and|und|et|y|и|&)\s+", re.IGNORECASE)
_SOURCE_WORDS = re.compile(
    r"\b(?:readme|this|these|attached|file|files|text|context|source|sources|above|given|it"
    r"|dies\w*|datei\w*|quelle\w*|fichier\w*|archivo\w*|файл\w*)\b|文件|附件|资料|本文|此文",
    re.IGNORECASE,
)
_OF = re.compile(r"\s(?:of|about|on|to|for|über|zu|von|sur|de|sobre|о)\s", re.IGNORECASE)
_FORM_ALONE = re.compile(rf"(?:(?:an?|the|some|ein|eine|einen|un|une)\s+)?{_FORM}", re.IGNORECASE)
_QUESTION = re.compile(r"(?:how|why|what|when|where|who|wie|warum|was)\s", re.IGNORECASE)
_COMPARE = re.compile(r"^compare\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the|ein|eine|un|une|le|la|el)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt understood: `sections` are the headings that it names, none if it names none.

    `subject` is the title without its form: "tea in Britain" of "A short history of tea in
    Britain"; "" if there is none. `means_source`: the prompt speaks of the files ("this README").
    """

    title: str
    subject: str
    sections: tuple[str, ...]
    language: str
    means_source: bool


def read_request(prompt: str) -> Request:
    """What a prompt asks for. Any text can be read; an empty one is an untitled document."""
    prompt = clean_text(prompt[:_MAX_PROMPT])
    language = language_of(prompt)
    listed = tuple(_heading(match) for match in _LISTED.findall(prompt))
    prose = _LISTED.sub("", prompt) if len(listed) > 1 else prompt
    sentences = split_sentences(plain(prose)) or [""]
    first, named = _title_and_sections(_without_courtesy(sentences[0]))
    sections = listed if len(listed) > 1 else named or _named_later(sentences[1:])
    bare = _title(first)
    return Request(
        title=_capital(bare) or phrases_for(language).untitled,
        subject=_subject(bare),
        sections=_unique(sections),
        language=language,
        means_source=bool(_SOURCE_WORDS.search(prompt)),
    )


def without_article(title: str) -> str:
    """The title without a leading article."""
    return _ARTICLE.sub("", title)


def _without_courtesy(sentence: str) -> str:
    previous = ""
    while previous != sentence:
        previous, sentence = sentence, _POLITE.sub("", sentence)
    return sentence


def _title_and_sections(sentence: str) -> tuple[str, tuple[str, ...]]:
    sentence = _LENGTH.sub("", sentence.strip().rstrip(".!。！:："))
    if re.search(rf"[{CJK}]", sentence):
        return _cjk_title_and_sections(sentence)
    if (found := _ENUMERATION.search(sentence)) and (items := _items(sentence[found.end() :])):
        return sentence[: found.start()], items
    before, colon, after = sentence.partition(": ")
    if colon and len(items := _items(after)) >= _ENUMERATED:
        return before, items
    return sentence, ()


def _cjk_title_and_sections(sentence: str) -> tuple[str, tuple[str, ...]]:
    bare = _CJK_VERB.sub("", sentence)
    found = _CJK_ENUMERATION.search(bare)
    title, items = bare, ""
    if found and found.start():
        title, items = bare[: found.start()], bare[found.end() :]
    subject = _CJK_SUBJECT.match(title.strip("，,：: "))
    return subject.group(1) if subject else title, _items(items)


def _named_later(sentences: list[str]) -> tuple[str, ...]:
    found = ((sentence, _COVER_SENTENCE.match(sentence)) for sentence in sentences[:20])
    named = (_items(sentence[match.end() :]) for sentence, match in found if match)
    return next(filter(None, named), ())


def _items(text: str) -> tuple[str, ...]:
    """The items of an enumeration: "a, b and c" has three, "a and b, c and d" has two."""
    text = _LENGTH.sub("", text.strip().rstrip(".!?。！？"))
    parts = [part for part in _COMMA.split(text) if part]
    *most, last = parts or [""]
    pairs = any(_LATIN_AND.search(part) for part in most)
    split = [last] if pairs else _AND.split(last)
    return tuple(filter(None, map(_heading, chain(most, split))))


def _heading(text: str) -> str:
    bare = _LEADING_AND.sub("", plain(text)).strip(" .:;,。：；，、\"“”'")
    return cut(_capital(bare if "(" in bare else bare.rstrip(")")), MAX_SECTION)


def _title(sentence: str) -> str:
    """The title; "" if the sentence names nothing but a kind of document."""
    title = _bare_title(sentence)
    if _FORM_ALONE.fullmatch(title):
        return ""
    title = cut(title, MAX_TITLE)
    return title if _QUESTION.match(title) else title.rstrip("?？")


def _bare_title(sentence: str) -> str:
    title = _JAPANESE_ABOUT.sub("", one_line(sentence)).strip(" ,:;(，：")
    title = _VERB.sub("", title, count=1) if _VERB.match(title) else title
    title = _GENERIC_FORM.sub("", _ABOUT.sub("", title))
    return _LENGTH.sub("", title).strip(' ,:;."“”，：')


def _subject(title: str) -> str:
    """What the title is about."""
    if _QUESTION.match(title):
        return f"“{title}”"
    bare = _COMPARE.sub("", title)
    if bare == title and (found := _OF.search(title)):
        return title[found.end() :]
    return bare[:1].lower() + bare[1:] if _ARTICLE.match(bare) else bare


def _unique(headings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple({heading.casefold(): heading for heading in headings if heading}.values())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
