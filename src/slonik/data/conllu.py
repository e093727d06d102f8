"""Read treebanks in CoNLL-U, sentence by sentence, in the memory of one sentence.

Enhanced (empty) nodes such as 8.1 are counted and left out of the tree; a multiword token such as 1-2 gives its
surface form to the text, its words to the tree; features, lemma, head and relation may each be missing ("_"). Words are
numbered 1, 2, 3, ... and their heads are words of their own sentence: anything else is an error that names file and
line. Only the end of a file that was cut (`head -n`) is left out, with a warning that names it. What a sentence means
for a task is not decided here. Format: https://universaldependencies.org/format.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.progress import warn_once
from slonik.text.lines import numbered_lines

_COLUMNS = 10


@dataclass(frozen=True)
class Word:
    """A syntactic word.

    Attributes:
        id: its number in the sentence, from 1.
        form: as written. lemma: "" where the treebank has none. upos: universal part of speech, "" if missing.
        feats: morphological features, empty if missing.
        head: number of its head, 0 for the root, None if missing.
        deprel: relation to the head with its subtype, "" if missing.
    """

    id: int
    form: str
    lemma: str = ""
    upos: str = ""
    feats: dict[str, str] = field(default_factory=dict)
    head: int | None = None
    deprel: str = ""

    @property
    def relation(self) -> str:
        """The relation without its subtype: "nsubj" of "nsubj:pass"."""
        return self.deprel.split(":")[0]


@dataclass(frozen=True)
class Unit:
    """A stretch of the text without spaces inside: a word, or a multiword token.

    Attributes:
        form: as written. words: numbers of its words (first, last). space_after: whether a space follows.
    """

    form: str
    words: tuple[int, int]
    space_after: bool = True


@dataclass(frozen=True)
class Sentence:
    """One annotated sentence.

    Attributes:
        words: its words in order. units: what is written, in order. id: `sent_id`, "" if missing.
        text: `text` of the comments, or the units joined. empty_nodes: how many enhanced nodes were left out.
    """

    words: tuple[Word, ...]
    units: tuple[Unit, ...]
    id: str = ""
    text: str = ""
    empty_nodes: int = 0

    @cached_property
    def children(self) -> dict[int, list[Word]]:
        """Head's number (0 = above the root) -> its dependents, in order."""
        found: dict[int, list[Word]] = {}
        for word in self.words:
            if word.head is not None:
                found.setdefault(word.head, []).append(word)
        return found

    @property
    def root(self) -> Word | None:
        """The only root, None where there is none or more than one."""
        roots = self.children.get(0, [])
        return roots[0] if len(roots) == 1 else None

    @cached_property
    def depth(self) -> int | None:
        """Edges from the root to the deepest word; None where the heads do not form one tree."""
        root = self.root
        if root is None:
            return None
        level, seen, depth = [root], 1, 0
        while below := [child for word in level for child in self.children.get(word.id, [])]:
            level, seen, depth = below, seen + len(below), depth + 1
            if seen > len(self.words):  # two words of one number: their dependents would be met for ever
                return None
        return depth if seen == len(self.words) else None


def join_units(units: Sequence[Unit]) -> str:
    """The text of units, with a space where one follows."""
    return "".join(unit.form + (" " if unit.space_after else "") for unit in units).strip()


def read_conllu(paths: str | Path | Sequence[str | Path]) -> Iterator[Sentence]:
    """Sentences of one or more files (.gz too), in order.

    Raises:
        SlonikError: a missing file, a line without ten columns, a number that is none, words that are not numbered
            1, 2, 3, ..., a head outside its sentence or a word that heads itself (file and line are named), or a file
            without any whole sentence.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        found = False
        for sentence in _sentences(Path(path)):
            found = True
            yield sentence
        if not found:
            raise SlonikError(f"{path} holds no sentence: give a treebank in CoNLL-U")


def is_conllu(path: str | Path) -> bool:
    """Whether a file is a treebank by its name (.conllu, .conll, .conllu.gz)."""
    name = Path(path).name.lower().removesuffix(".gz")
    return name.endswith((".conllu", ".conll"))


class _CutShort(Exception):
    """A sentence refers to words that it lacks: damaged, or the end of a file that was cut."""


def _sentences(path: Path) -> Iterator[Sentence]:
    comments: dict[str, str] = {}
    rows: list[tuple[int, list[str]]] = []
    for number, line in numbered_lines(path):
        if line.startswith("#") and not rows:
            name, equals, value = line[1:].partition("=")
            if equals:
                comments[name.strip()] = value.strip()
        elif line.startswith("#"):
            raise SlonikError(
                f"{path}, line {number}: a comment inside a sentence: an empty line must end the sentence before it"
            )
        elif line.strip():
            columns = line.split("\t")
            if len(columns) != _COLUMNS:
                raise SlonikError(
                    f"{path}, line {number}: {len(columns)} columns where CoNLL-U has {_COLUMNS}, separated by tabs"
                )
            rows.append((number, columns))
        else:
            if rows:
                try:
                    yield _sentence(path, rows, comments)
                except _CutShort as fault:
                    raise SlonikError(f"{path}, {fault}: the sentence is damaged, mend it or take it out") from None
            comments, rows = {}, []
    if rows:  # no empty line behind it: the file may have been cut here
        try:
            last = _sentence(path, rows, comments)
        except _CutShort as fault:
            warn_once(f"{path}, {fault}: the file is cut there, its last sentence is left out")
        else:
            yield last


def _sentence(path: Path, rows: list[tuple[int, list[str]]], comments: dict[str, str]) -> Sentence:
    words: list[Word] = []
    units: list[Unit] = []
    empty = 0
    inside = 0  # the last word of the multiword token that we are in
    for number, columns in rows:
        key, form = columns[0], columns[1]
        space = "SpaceAfter=No" not in columns[9].split("|")
        if not form:
            raise SlonikError(f"{path}, line {number}: word {key} has no form")
        if "." in key:
            empty += 1
        elif "-" in key:
            first, last = (_number(part, path, number) for part in key.split("-", 1))
            if first != len(words) + 1 or last < first or first <= inside:
                raise SlonikError(
                    f"{path}, line {number}: the multiword token {key} stands before word {len(words) + 1}; it must "
                    "begin with that word, end with it or a later one, and lie in no other"
                )
            units.append(Unit(form, (first, last), space))
            inside = last
        else:
            word = _word(columns, path, number)
            if word.id != len(words) + 1:
                raise SlonikError(
                    f"{path}, line {number}: word {word.id} where word {len(words) + 1} should be; words are numbered "
                    "1, 2, 3, ..., and an empty line ends a sentence"
                )
            if word.head == word.id:
                raise SlonikError(f"{path}, line {number}: word {word.id} is its own head; a root has head 0")
            words.append(word)
            if word.id > inside:
                units.append(Unit(form, (word.id, word.id), space))
    if not words:
        raise SlonikError(f"{path}, line {rows[0][0]}: a sentence without words")
    _check_references(rows, words, inside)
    text = comments.get("text") or join_units(units)
    return Sentence(tuple(words), tuple(units), comments.get("sent_id", ""), text, empty)


def _check_references(rows: list[tuple[int, list[str]]], words: list[Word], inside: int) -> None:
    lines = {int(columns[0]): number for number, columns in rows if columns[0].isdecimal()}
    for word in words:
        if word.head is not None and word.head > len(words):
            raise _CutShort(
                f"line {lines[word.id]}: the head of word {word.id} is {word.head}, and its sentence has "
                f"{len(words)} word{'s' if len(words) > 1 else ''}"
            )
    if inside > len(words):
        raise _CutShort(f"line {rows[-1][0]}: a multiword token goes to word {inside}, the sentence to {len(words)}")


def _word(columns: list[str], path: Path, number: int) -> Word:
    lemma = "" if columns[2] == "_" and columns[1] != "_" else columns[2]
    feats = {}
    if columns[5] != "_":
        for pair in columns[5].split("|"):
            name, sign, value = pair.partition("=")
            if not (name and sign and value) or name in feats:
                what = "there twice" if name in feats else "no NAME=VALUE"
                raise SlonikError(f"{path}, line {number}: the feature {pair!r} is {what}: mend it or write _")
            feats[name] = value
    return Word(
        id=_number(columns[0], path, number),
        form=columns[1],
        lemma=lemma,
        upos="" if columns[3] == "_" else columns[3],
        feats=feats,
        head=None if columns[6] == "_" else _number(columns[6], path, number),
        deprel="" if columns[7] == "_" else columns[7],
    )


def _number(text: str, path: Path, number: int) -> int:
    if not text.isdecimal():
        raise SlonikError(f"{path}, line {number}: {text!r} is not the number of a word: this is not CoNLL-U")
    return int(text)
