"""The few words of our own that an offline outline or document needs, in each language."""
# ruff: noqa: RUF001

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Phrases:
    """Words in one language. `{title}`, `{heading}`, `{subject}` and `{items}` are filled in.

    `general` is the outline of a document of which nothing but the subject is known: pairs of
    heading and summary.
    """

    overview: str
    conjunction: str
    untitled: str
    this_subject: str
    covers: str
    parts: str
    no_source: str
    no_source_again: str
    not_in_sources: str
    general: tuple[tuple[str, str], ...]


_ENGLISH = Phrases(
    overview="Overview",
    conjunction=" and ",
    untitled="Untitled document",
    this_subject="this subject",
    covers="Covers “{heading}” as part of “{title}”.",
    parts="This part covers {items}.",
    no_source=(
        "No source was given for “{heading}”. "
        "Add a text file that deals with it and run the job again."
    ),
    no_source_again="For “{heading}” too, no source was given.",
    not_in_sources="The sources given say nothing about “{heading}”.",
    general=(
        ("Background", "The background of {subject}, and why it matters to the reader."),
        ("Main points", "What there is to know about {subject}, the most important first."),
        ("Examples", "Examples of {subject} in practice."),
        ("Open questions", "What is disputed or not yet known about {subject}."),
        ("Conclusion", "What the reader should take away about {subject}."),
    ),
)

_GERMAN = Phrases(
    overview="Überblick",
    conjunction=" und ",
    untitled="Dokument ohne Titel",
    this_subject="dieses Thema",
    covers="Behandelt „{heading}“ als Teil von „{title}“.",
    parts="Dieser Teil behandelt {items}.",
    no_source=(
        "Zu „{heading}“ wurde keine Quelle angegeben. "
        "Fügen Sie eine Textdatei dazu hinzu und starten Sie den Auftrag erneut."
    ),
    no_source_again="Auch zu „{heading}“ wurde keine Quelle angegeben.",
    not_in_sources="Die angegebenen Quellen sagen nichts zu „{heading}“.",
    general=(
        ("Hintergrund", "Woher das Thema „{subject}“ kommt und warum es wichtig ist."),
        ("Das Wichtigste", "Was man über „{subject}“ wissen muss, das Wichtigste zuerst."),
        ("Beispiele", "Fälle, die „{subject}“ in der Praxis zeigen."),
        ("Offene Fragen", "Was an „{subject}“ umstritten oder noch unbekannt ist."),
        ("Fazit", "Was von „{subject}“ im Gedächtnis bleiben soll."),
    ),
)

_FRENCH = Phrases(
    overview="Présentation",
    conjunction=" et ",
    untitled="Document sans titre",
    this_subject="ce sujet",
    covers="Traite de « {heading} » dans le cadre de « {title} ».",
    parts="Cette partie traite de : {items}.",
    no_source=(
        "Aucune source n’a été fournie pour « {heading} ». "
        "Ajoutez un fichier texte à ce sujet et relancez la tâche."
    ),
    no_source_again="Pour « {heading} » non plus, aucune source n’a été fournie.",
    not_in_sources="Les sources fournies ne disent rien de « {heading} ».",
    general=(
        ("Contexte", "D’où vient le sujet « {subject} » et pourquoi il importe."),
        ("L’essentiel", "Ce qu’il faut savoir sur « {subject} », le plus important d’abord."),
        ("Exemples", "Des cas qui montrent « {subject} » en pratique."),
        ("Questions ouvertes", "Ce qui reste discuté ou inconnu sur « {subject} »."),
        ("Conclusion", "Ce qu’il faut retenir de « {subject} »."),
    ),
)

_SPANISH = Phrases(
    overview="Presentación",
    conjunction=" y ",
    untitled="Documento sin título",
    this_subject="este tema",
    covers="Trata de «{heading}» como parte de «{title}».",
    parts="Esta parte trata de: {items}.",
    no_source=(
        "No se dio ninguna fuente para «{heading}». "
        "Añada un archivo de texto sobre ello y vuelva a ejecutar la tarea."
    ),
    no_source_again="Tampoco se dio ninguna fuente para «{heading}».",
    not_in_sources="Las fuentes dadas no dicen nada de «{heading}».",
    general=(
        ("Contexto", "De dónde viene el tema «{subject}» y por qué importa."),
        ("Lo esencial", "Lo que hay que saber sobre «{subject}», lo más importante primero."),
        ("Ejemplos", "Casos que muestran «{subject}» en la práctica."),
        ("Preguntas abiertas", "Lo que se discute o aún no se sabe sobre «{subject}»."),
        ("Conclusión", "Lo que conviene recordar sobre «{subject}»."),
    ),
)

_RUSSIAN = Phrases(
    overview="Обзор",
    conjunction=" и ",
    untitled="Документ без названия",
    this_subject="эта тема",
    covers="Раздел «{heading}» документа «{title}».",
    parts="В этой части: {items}.",
    no_source=(
        "Для раздела «{heading}» источники не указаны. "
        "Добавьте текстовый файл по этой теме и запустите задание снова."
    ),
    no_source_again="Для раздела «{heading}» источники также не указаны.",
    not_in_sources="В указанных источниках ничего не сказано о теме «{heading}».",
    general=(
        ("Предыстория", "Откуда взялась тема «{subject}» и почему она важна."),
        ("Главное", "Что нужно знать о теме «{subject}», начиная с самого важного."),
        ("Примеры", "Случаи, которые показывают тему «{subject}» на практике."),
        ("Открытые вопросы", "Что в теме «{subject}» спорно или ещё неизвестно."),
        ("Заключение", "Что следует запомнить о теме «{subject}»."),
    ),
)

_CHINESE = Phrases(
    overview="概述",
    conjunction="与",
    untitled="未命名文档",
    this_subject="本主题",
    covers="介绍“{heading}”，作为《{title}》的一部分。",
    parts="本部分包括：{items}。",
    no_source="没有提供关于“{heading}”的资料。请添加相关的文本文件，然后重新运行任务。",
    no_source_again="同样没有提供关于“{heading}”的资料。",
    not_in_sources="所提供的资料没有提到“{heading}”。",
    general=(
        ("背景", "“{subject}”的由来，以及它为什么重要。"),
        ("要点", "关于“{subject}”需要了解的内容，最重要的在前。"),
        ("实例", "说明“{subject}”的实际例子。"),
        ("待解问题", "关于“{subject}”尚有争议或未知的问题。"),
        ("结语", "读者应当记住的关于“{subject}”的要点。"),
    ),
)

_JAPANESE = Phrases(
    overview="概要",
    conjunction="と",
    untitled="無題の文書",
    this_subject="このテーマ",
    covers="「{title}」の一部として「{heading}」を扱います。",
    parts="この部分では次の内容を扱います：{items}。",
    no_source="「{heading}」についての資料がありません。関連するテキストファイルを追加して、もう一度実行してください。",
    no_source_again="「{heading}」についても資料がありません。",
    not_in_sources="資料には「{heading}」についての記述がありません。",
    general=(
        ("背景", "「{subject}」の由来と、それが大切な理由。"),
        ("要点", "「{subject}」について知っておくべきこと。"),
        ("例", "「{subject}」の実例。"),
        ("残された問い", "「{subject}」についてまだ分かっていないこと。"),
        ("まとめ", "「{subject}」について覚えておきたいこと。"),
    ),
)

_BY_LANGUAGE = MappingProxyType(
    {
        "en": _ENGLISH,
        "de": _GERMAN,
        "fr": _FRENCH,
        "es": _SPANISH,
        "ru": _RUSSIAN,
        "zh": _CHINESE,
        "ja": _JAPANESE,
    }
)

# English alone tells the common kinds of document apart, by a word of its title.
_ENGLISH_KINDS: tuple[tuple[frozenset[str], tuple[tuple[str, str], ...]], ...] = (
    (
        frozenset({"history", "biography", "timeline", "chronicle"}),
        (
            ("Origins", "How {subject} began, and what was there before."),
            ("Early years", "The first steps of {subject}, and who took them."),
            ("Turning points", "The events that changed the course of {subject}."),
            ("People", "Those who shaped {subject}, and those whom it touched."),
            ("Legacy", "What is left of it today, and what it led to."),
        ),
    ),
    (
        frozenset({"guide", "tutorial", "manual", "handbook", "howto", "instructions"}),
        (
            ("Before you start", "What the reader needs to have and to know for {subject}."),
            ("First steps", "The shortest way to a first result with {subject}."),
            ("Step by step", "The whole way, in the order in which it is gone."),
            ("When something goes wrong", "Common problems with {subject} and what helps."),
            ("Where to go next", "What to read or try after this."),
        ),
    ),
    (
        frozenset({"proposal", "plan", "pitch", "strategy", "roadmap"}),
        (
            ("Goal", "What {subject} is to achieve, and for whom."),
            ("Situation today", "What is there now, and why it is not enough."),
            ("Proposal", "What is to be done for {subject}."),
            ("Cost and schedule", "What it takes in money, people and time."),
            ("Risks", "What may go wrong, and what would be done then."),
            ("Decision needed", "Who has to decide what, and by when."),
        ),
    ),
    (
        frozenset({"comparison", "compare", "versus", "vs", "alternatives"}),
        (
            ("What is compared", "The choices in {subject}, and what each is made for."),
            ("What matters", "By what the choices are judged, and why."),
            ("What they share", "Where the choices do not differ."),
            ("Where they differ", "The differences that matter in practice."),
            ("Which to choose", "What fits whom."),
        ),
    ),
)


def phrases_for(language: str) -> Phrases:
    """The phrases of a language (ISO 639-1); English for a language without its own."""
    return _BY_LANGUAGE.get(language, _ENGLISH)


def general_outline(language: str, title: str) -> tuple[tuple[str, str], ...]:
    """Headings and summaries for a document of which only the title is known."""
    if language == "en":
        words = set(title.casefold().replace("how to", "howto").replace("-", " ").split())
        for kind, sections in _ENGLISH_KINDS:
            if kind & words:
                return sections
    return phrases_for(language).general
