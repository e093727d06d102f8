"""Probing tasks of words: part of speech, case, relation, head, and type of an entity, from annotated data.

`part_of_speech` and `case` ask about one word, `relation` about a word and its head, `head` whether one word is the
head of another, `entity` about the words of an entity (token and edge probing, Tenney et al. 2019). Every example is a
place in a sentence; it becomes a row of a `TaskData` whose "text" names the place, so that probes, controls, intervals
and tables are those of sentences. The word that the task asks about is the word itself (for pairs, the dependent).

Sentences go to subsets as wholes, a few examples of each are taken, so that examples are nearly independent of each
other; labels with too few examples are left out. Both is counted in the notes.

What a word's vector is, is decided in `word_vectors`; the structural probe of whole trees is in `trees`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import derive_seed, sha256_file, sha256_json
from slonik.data.annotations.document import Document
from slonik.data.annotations.formats import read_documents
from slonik.data.conllu import Sentence, Word, join_units, read_conllu
from slonik.inspection.probing.tasks import Split, Task, TaskData

TREE = "tree"
"""The structural probe's name among what can be asked of a treebank."""
_SHARES = (0.6, 0.8)  # ends of training and validation sentences
_OF_A_SENTENCE = 3  # examples of one sentence
_FEWEST = (20, 5, 5)  # examples of a label in a subset
_LONGEST_WORDS = 60
_NO_WORDS = ("PUNCT", "SYM")
_ENTITY_WINDOW = re.compile(r"[^\n]+")


@dataclass(frozen=True)
class Place:
    """Where an example stands: a sentence by its number, and one or two stretches of units (first, behind the last)."""

    sentence: int
    stretches: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tokens:
    """A sentence as it is shown to a model: its text, and where its units stand in it (start, end)."""

    text: str
    units: tuple[tuple[int, int], ...]

    def form(self, stretch: tuple[int, int]) -> str:
        """What is written there."""
        return self.text[self.units[stretch[0]][0] : self.units[stretch[1] - 1][1]]


@dataclass(frozen=True)
class WordTask:
    """A task of words.

    Attributes:
        data: rows whose texts name places. places: name -> place. sentences: all sentences of the source.
        multiplied: whether pairs are shown with the product of their vectors beside both.
    """

    data: TaskData
    places: dict[str, Place]
    sentences: tuple[Tokens, ...]
    multiplied: bool = False

    def forms(self, name: str) -> tuple[str, ...]:
        """The words of an example, in lower case."""
        place = self.places[name]
        return tuple(self.sentences[place.sentence].form(stretch).lower() for stretch in place.stretches)


@dataclass(frozen=True)
class Treebank:
    """Annotated sentences whose words are whole units of their text.

    Attributes:
        sentences: those that are kept. tokens: the same as they are shown to models. sha256: of the files.
        notes: how many were left out, and why.
    """

    sentences: tuple[Sentence, ...]
    tokens: tuple[Tokens, ...]
    sha256: str
    notes: tuple[str, ...]


def read_treebank(paths: Sequence[Path], *, limit: int | None = None) -> Treebank:
    """Sentences of treebanks in CoNLL-U.

    Args:
        limit: at most this many, by hash.

    Raises:
        SlonikError: a file that is missing or damaged, or no sentence that can be used.
    """
    kept: dict[str, Sentence] = {}
    left: Counter[str] = Counter()
    for sentence in read_conllu(list(paths)):
        reason = _refused(sentence)
        text = join_units(sentence.units)
        if reason is None and text in kept:
            reason = "there before"
        if reason is None:
            kept[text] = sentence
        else:
            left[reason] += 1
    told = ", ".join(f"{reason} {count}" for reason, count in left.items())
    if not kept:
        raise SlonikError(f"{', '.join(map(str, paths))}: no sentence can be used ({told}): give another treebank")
    chosen = sorted(kept, key=lambda text: derive_seed(0, "treebank", text))[:limit]
    sentences = tuple(kept[text] for text in chosen)
    digest = sha256_json([sha256_file(path) for path in paths])
    notes = (f"{sum(left.values())} of {sum(left.values()) + len(kept)} sentences left out: {told}",) if left else ()
    return Treebank(sentences, tuple(map(_tokens, sentences)), digest, notes)


def _refused(sentence: Sentence) -> str | None:
    if any(unit.words[0] != unit.words[1] for unit in sentence.units):
        return "with a multiword token"
    if len(sentence.words) > _LONGEST_WORDS:
        return f"of more than {_LONGEST_WORDS} words"
    return None if sentence.depth is not None else "whose heads form no tree"


def _tokens(sentence: Sentence) -> Tokens:
    units, at = [], 0
    for unit in sentence.units:
        units.append((at, at + len(unit.form)))
        at += len(unit.form) + unit.space_after
    return Tokens(join_units(sentence.units), tuple(units))


Example = tuple[str, tuple[tuple[int, int], ...]]
"""A label, and stretches of units."""


def _here(word: Word) -> tuple[int, int]:
    return word.id - 1, word.id


def _words(sentence: Sentence) -> Iterator[Word]:
    return (word for word in sentence.words if word.upos not in _NO_WORDS)


def _part_of_speech(sentence: Sentence) -> Iterator[Example]:
    return ((word.upos, (_here(word),)) for word in _words(sentence) if word.upos)


def _case(sentence: Sentence) -> Iterator[Example]:
    return ((word.feats["Case"], (_here(word),)) for word in _words(sentence) if word.feats.get("Case"))


def _relation(sentence: Sentence) -> Iterator[Example]:
    for word in _words(sentence):
        if word.head and word.relation:
            yield word.relation, (_here(word), (word.head - 1, word.head))


def _head(sentence: Sentence) -> Iterator[Example]:
    """A word with its head, or with another word as far away on either side: distance gives nothing away."""
    for word in _words(sentence):
        if not word.head:
            continue
        draw = derive_seed(0, "head", sentence.text, word.id)
        if draw % 2:
            yield "1", (_here(word), (word.head - 1, word.head))
            continue
        # where another word of the sentence has its head, seen from this one
        offsets = sorted({w.head - w.id for w in _words(sentence) if w.head})
        others = [word.id + o for o in offsets if 1 <= word.id + o <= len(sentence.words) and word.id + o != word.head]
        others = [at for at in others if sentence.words[at - 1].upos not in _NO_WORDS]
        if others:
            there = others[draw // 2 % len(others)]
            yield "0", (_here(word), (there - 1, there))


_OF_TREEBANK: dict[str, tuple[Callable[[Sentence], Iterator[Example]], str]] = {
    "part_of_speech": (_part_of_speech, "the part of speech of a word"),
    "case": (_case, "the case of a word"),
    "relation": (_relation, "the relation of a word to its head"),
    "head": (_head, "is one word the head of another"),
}
ENTITY = "entity"
ASKS = (*_OF_TREEBANK, TREE)


def asked(names: Sequence[str] | None) -> list[str]:
    """What is asked of a treebank.

    Raises:
        SlonikError: an unknown name.
    """
    return [lookup(name, dict.fromkeys(ASKS, name), "task of words") for name in names or ASKS]


def treebank_tasks(bank: Treebank, names: Sequence[str], *, size: int = 2000) -> list[WordTask]:
    """The tasks of words that a treebank gives.

    Args:
        names: of ASKS, without the tree. size: examples of a task, at most.

    Raises:
        SlonikError: a task for which there are too few examples.
    """
    found = []
    for name in names:
        examples, asks = _OF_TREEBANK[name]
        rows = [(at, list(examples(sentence))) for at, sentence in enumerate(bank.sentences)]
        found.append(
            _task(name, asks, rows, bank.tokens, bank.sha256, bank.notes, size=size, multiplied=name == "head")
        )
    return found


def entity_task(path: Path, *, size: int = 2000, limit: int | None = None) -> WordTask:
    """The types of entities in annotated texts of any format that `read_documents` knows, line by line.

    Raises:
        SlonikError: data that cannot be read, or too few entities.
    """
    counts: Counter[str] = Counter()
    sentences: list[Tokens] = []
    rows: list[tuple[int, list[Example]]] = []
    for document in read_documents(path, counts):
        for tokens, examples in _lines(document):
            rows.append((len(sentences), examples))
            sentences.append(tokens)
    if limit is not None:
        rows, sentences = rows[:limit], sentences[:limit]
    digest = sha256_json([[tokens.text for tokens in sentences], rows])
    return _task(ENTITY, "the type of an entity", rows, tuple(sentences), digest, (), size=size)


def _lines(document: Document) -> Iterator[tuple[Tokens, list[Example]]]:
    """Lines of a document with entities in them, cut to sixty words around."""
    for line in _ENTITY_WINDOW.finditer(document.text):
        units = tuple((m.start(), m.end()) for m in re.finditer(r"\w+|[^\w\s]", line.group()))[: 2 * _LONGEST_WORDS]
        examples: list[Example] = []
        for span in document.spans:
            start, end = span.start - line.start(), span.end - line.start()
            inside = [at for at, unit in enumerate(units) if unit[0] >= start and unit[1] <= end]
            if inside and start >= 0 and end <= len(line.group()):
                examples.append((span.label, ((inside[0], inside[-1] + 1),)))
        if examples:
            yield Tokens(line.group(), units), examples


@dataclass
class _Chosen:
    rows: list[tuple[str, str, str]] = field(default_factory=list)  # label, name, word


def _task(
    name: str, asks: str, rows: Iterable[tuple[int, Sequence[Example]]], sentences: tuple[Tokens, ...], sha256: str,
    notes: Sequence[str], *, size: int, multiplied: bool = False,
) -> WordTask:  # fmt: skip
    """A few examples of every sentence, sentences whole in one subset, labels with enough examples."""
    places: dict[str, Place] = {}
    parts = (_Chosen(), _Chosen(), _Chosen())
    room = [int(size * share) for share in (0.6, 0.2, 0.2)]
    for number, examples in rows:
        tokens = sentences[number]
        share = derive_seed(0, "words split", tokens.text) / 2**63
        place = int(np.searchsorted(_SHARES, share, side="right"))
        order = sorted(range(len(examples)), key=lambda at: derive_seed(0, name, tokens.text, at))
        for at in order[:_OF_A_SENTENCE]:
            label, stretches = examples[at]
            if len(parts[place].rows) >= room[place]:
                break
            key = f"{number}:" + ",".join(f"{first}-{end}" for first, end in stretches)
            places[key] = Place(number, stretches)
            parts[place].rows.append((label, key, tokens.form(stretches[0]).lower()))
    counts = [Counter(label for label, _, _ in part.rows) for part in parts]
    rare = {
        label: counts[0][label]
        for label in sorted(set().union(*counts))
        if any(count[label] < fewest for count, fewest in zip(counts, _FEWEST, strict=True))
    }
    told = list(notes)
    if rare:
        named = ", ".join(f"{label} {count}" for label, count in rare.items())
        told.append(f"{name}: labels with too few examples are left out (in training): {named}")
    splits = []
    for part in parts:
        kept = [row for row in part.rows if row[0] not in rare]
        splits.append(
            Split(tuple(row[1] for row in kept), np.array([row[0] for row in kept], np.str_), tuple(r[2] for r in kept))
        )
    classes = len(set(splits[0].labels.tolist()))
    if classes < 2:
        raise SlonikError(
            f"{name} cannot be asked: {classes} label{'s have' if classes != 1 else ' has'} {_FEWEST[0]} training, "
            f"{_FEWEST[1]} validation and {_FEWEST[2]} test examples in {len(sentences)} sentences"
        )
    train, validation, test = splits
    data = TaskData(Task(name, "other", asks), train, validation, test, sha256, tuple(told), built=True)
    return WordTask(data, places, sentences, multiplied)
