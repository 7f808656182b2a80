"""Finding the passages of the sources that deal with a question."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

from jobs.writing.language import keys_of, same_key
from jobs.writing.markdown import Block
from jobs.writing.structure import Section, Structure, title_of

MAX_PASSAGE = 1_500
_SATURATION = 1.2
_HEADING_WEIGHT = 2.5
# Below this share of the question's weight a passage only happens to share a word with it.
_LEAST_COVERAGE = 0.34
_OWN_BONUS = 1_000.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a source. `headings` are those above it; `text` is tidied Markdown."""

    place: int
    source: str
    headings: tuple[str, ...]
    text: str


class PassageIndex:
    """The passages of some sources, found by word (BM25 without the length term)."""

    def __init__(self, structures: Sequence[Structure]) -> None:
        pieces = (piece for structure in structures for piece in _pieces(structure))
        self.passages = tuple(
            Passage(place, source, headings, text)
            for place, (source, headings, text) in enumerate(pieces)
        )
        self._counts: dict[str, dict[int, float]] = defaultdict(dict)
        self._under: dict[str, list[int]] = defaultdict(list)
        for passage in self.passages:
            self._enter(passage)

    def find(self, query: str, *, heading: str = "", most: int = 6) -> list[Passage]:
        """The passages nearest to the query, at most `most`, in the order of the sources.

        Those under `heading` come before all others.
        """
        scores = self._scores(set(keys_of(query)))
        for place in self._under.get(same_key(heading), ()) if heading else ():
            scores[place] = scores.get(place, 0.0) + _OWN_BONUS
        best = sorted(scores, key=lambda place: (-scores[place], place))[:most]
        return [self.passages[place] for place in sorted(best)]

    def _enter(self, passage: Passage) -> None:
        for heading in {same_key(heading) for heading in passage.headings}:
            self._under[heading].append(passage.place)
        counts = Counter(keys_of(passage.text))
        for key in set(keys_of(" ".join(passage.headings[-1:]))):
            counts[key] += 3
        for key, count in counts.items():
            self._counts[key][passage.place] = count / (count + _SATURATION)

    def _scores(self, keys: set[str]) -> dict[int, float]:
        weights = {key: self._weight(key) for key in keys}
        least = _LEAST_COVERAGE * sum(weights.values())
        scores: dict[int, float] = defaultdict(float)
        covered: dict[int, float] = defaultdict(float)
        for key, weight in weights.items():
            for place, share in self._counts.get(key, {}).items():
                scores[place] += weight * share
                covered[place] += weight
        return {place: score for place, score in scores.items() if covered[place] >= least}

    def _weight(self, key: str) -> float:
        # A word that no source holds weighs most, so that a question about nothing finds nothing.
        return log(1 + len(self.passages) / (0.5 + len(self._counts.get(key, ()))))


def passage_as_json(passage: Passage) -> Mapping[str, object]:
    """The passage as a tool reports it."""
    return {
        "source": passage.source,
        "headings": list(passage.headings),
        "text": passage.text,
    }


def as_markdown(block: Block) -> str:
    """A block as Markdown again."""
    if block.kind == "code":
        fence = "````" if "```" in block.text else "```"
        return f"{fence}{block.info}\n{block.text}\n{fence}"
    return f"- {block.text}" if block.kind == "item" else block.text


def join_blocks(blocks: Sequence[Block]) -> str:
    """Blocks as Markdown; the items of a list stand on neighbouring lines."""
    text = ""
    for place, block in enumerate(blocks):
        close = block.kind == "item" and place > 0 and blocks[place - 1].kind == "item"
        text += ("\n" if close else "\n\n") + as_markdown(block)
    return text.strip("\n")


def _pieces(structure: Structure) -> Iterator[tuple[str, tuple[str, ...], str]]:
    title = title_of(structure)
    for text in _portions(structure.opening):
        yield structure.name, (title,), text
    yield from _section_pieces(structure.name, structure.sections, ())


def _section_pieces(
    name: str, sections: Sequence[Section], above: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for section in sections:
        path = (*above, section.heading)
        for text in _portions(section.blocks):
            yield name, path, text
        yield from _section_pieces(name, section.sections, path)


def _portions(blocks: Sequence[Block]) -> Iterator[str]:
    held: list[Block] = []
    size = 0
    for block in blocks:
        if held and size + len(block.text) > MAX_PASSAGE:
            yield join_blocks(held)
            held, size = [], 0
        held.append(_shortened(block))
        size += len(held[-1].text)
    if held:
        yield join_blocks(held)


def _shortened(block: Block) -> Block:
    return replace(block, text=block.text[: 2 * MAX_PASSAGE])
