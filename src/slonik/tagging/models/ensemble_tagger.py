"""Several taggers as one: the mean of their probabilities for every word, read under the BIO rules.

A CRF over hand features, BiLSTMs and encoders of the same labels; members may cut words differently. Its folder is
`tagger.json` with a copy of each member beside, which works without the folders that it was made of. It can teach
(`--teacher`): the mean of different taggers is a better teacher than the best of them.

Shapes: W words, L labels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.files import new_folder, write_json
from slonik.core.hashing import sha256_json
from slonik.core.passport import Passport
from slonik.core.protocols import FloatArray
from slonik.data.annotations.document import Span, Tagger
from slonik.data.annotations.tags import Offsets, tokenize, tokens_of
from slonik.runtime.tagging.borders import balanced
from slonik.runtime.tagging.calibration import Calibration, calibrated
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.labels import BioLabels, TagLabels, one_label
from slonik.runtime.tagging.word_tagger import WordScores
from slonik.text import TAGGER_FILE
from slonik.text.lines import read_json
from slonik.text.tokenizing import check_texts

ENSEMBLE = "ensemble"
_LEAST = 1e-9  # probability whose logarithm is taken


class Voter(Tagger, Protocol):
    """A tagger that says how probable each label of each word is."""

    folder: Path | None

    @property
    def bio(self) -> TagLabels: ...

    def marginals(self, texts: Sequence[str], own: Sequence[Sequence[Span]] | None = None) -> Iterator[WordScores]: ...


class EnsembleFile(Config):
    """The content of an ensemble's `tagger.json`."""

    format: int = 1
    kind: str = ENSEMBLE
    labels: tuple[str, ...]
    members: tuple[str, ...]
    balanced: bool = True


class PlainWords:
    """The words of a text, as every tagger of ours cuts them."""

    def split(self, text: str) -> list[Offsets]:
        return tokenize(text)


class EnsembleTagger:
    """The mean of several taggers, as a `Tagger`.

    Args:
        name: what its records are filed under.
        members: of the same labels; see `check_members`.
        balance: names have both of their quotation marks and brackets, or neither.
        folder: where it was loaded from.
    """

    def __init__(
        self, name: str, members: Sequence[Voter], *, balance: bool = True, folder: Path | None = None
    ) -> None:
        self.name = name
        self.members = check_members(members)
        self.labels = members[0].labels
        self.bio = BioLabels(tuple(self.labels))
        self.features = PlainWords()
        self.balance = balance
        self.folder = folder
        self.calibration = Calibration.open(folder)

    def tag(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text; the occurrences of a name vote on its label, as with every tagger."""
        check_texts(texts)
        chain = Chain.of(len(self.bio))
        found = []
        for text, scores in zip(texts, self.marginals(texts), strict=True):
            best = chain.decode(np.log(np.maximum(scores.values, _LEAST)).astype(np.float32))
            spans = self.bio.decode(best.tolist(), scores.words)
            named = one_label(text, spans, self._votes(spans, scores))
            found.append(balanced(text, named) if self.balance else named)
        return calibrated(self.calibration, found)

    def predict(self, texts: Sequence[str]) -> list[list[Span]]:
        """What `tag` gives."""
        return self.tag(texts)

    def marginals(self, texts: Sequence[str], own: Sequence[Sequence[Span]] | None = None) -> Iterator[WordScores]:
        """Mean probability of each label of each word; one stretch a text, in order.

        Args:
            own: spans that each text gave to the members' lists of names: these are asked without them.
        """
        for number, text in enumerate(texts):
            words = tokenize(text)
            mine = [own[number]] if own is not None else None
            means = sum(_at(member, text, words, mine) for member in self.members) / len(self.members)
            yield WordScores(number, 0, words, np.asarray(means, dtype=np.float32))

    def describe(self) -> dict[str, Any]:
        """Facts: kind, parameters of all members, bytes, labels, what the members are."""
        facts = [member.describe() for member in self.members]
        found: dict[str, Any] = {
            "name": self.name, "kind": ENSEMBLE, "labels": list(self.labels),
            "parameters": sum(int(one.get("parameters") or 0) for one in facts),
            "members": [str(one.get("kind")) for one in facts], "weights_hash": self.identity(),
        }  # fmt: skip
        if self.folder is not None:
            found["bytes"] = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return found

    def identity(self) -> str:
        """sha256 of everything that decides spans and probabilities."""
        return sha256_json([[str(member.describe().get("weights_hash")) for member in self.members], self.balance])

    def _votes(self, spans: Sequence[Span], scores: WordScores) -> list[dict[str, float]]:
        """Per span: class -> the smallest probability among its words, had it that class."""
        found, first = [], 0
        for span in spans:
            own = tokens_of(span, scores.words, first)
            first = own.start
            begin, inside = scores.values[first, 1::2], scores.values[first + 1 : own.stop, 2::2]
            least = np.minimum(begin, inside.min(0)) if len(inside) else begin
            found.append(dict(zip(self.labels, least.tolist(), strict=True)))
        return found


def check_members(members: Sequence[Any]) -> list[Any]:
    """The members of an ensemble.

    Raises:
        SlonikError: fewer than two, one that gives no probabilities of words, or of other labels than the first.
    """
    if len(members) < 2:
        raise SlonikError("an ensemble has two taggers or more: name another")
    for member in members:
        if not hasattr(member, "marginals") or not isinstance(member.bio, BioLabels):
            raise SlonikError(
                f"{member.name} gives no probabilities of BIO labels for words, which an ensemble is the mean of: take "
                "CRFs over hand features, BiLSTMs and encoders that were trained here"
            )
        if tuple(member.labels) != tuple(members[0].labels):
            raise SlonikError(
                f"{member.name} tags {', '.join(member.labels)}, and {members[0].name} {', '.join(members[0].labels)}: "
                "an ensemble has one set of labels"
            )
    return list(members)


def save_ensemble(members: Sequence[Path], labels: Sequence[str], folder: Path, passport: Passport) -> None:
    """Write an ensemble of taggers that lie in folders, atomically.

    Raises:
        SlonikError: the folder is not empty, or the disk is full.
    """
    names = tuple(f"member-{number}" for number in range(len(members)))
    with new_folder(folder) as unfinished:
        for name, member in zip(names, members, strict=True):
            shutil.copytree(member, unfinished / name)
        content = EnsembleFile(labels=tuple(labels), members=names)
        write_json(unfinished / TAGGER_FILE, content.model_dump(mode="json"))
        passport.write(unfinished)


def load_ensemble(folder: Path, load: Callable[[Path], Tagger]) -> EnsembleTagger:
    """The ensemble that `save_ensemble` wrote.

    Args:
        load: opens a member.

    Raises:
        SlonikError: a file is missing or damaged.
    """
    content = build_config(EnsembleFile, read_json(folder / TAGGER_FILE), source=str(folder / TAGGER_FILE))
    members: list[Any] = []
    for name in content.members:
        if not (folder / name).is_dir():
            raise SlonikError(f"{folder / name} is missing: copy the folder whole")
        members.append(load(folder / name))
    return EnsembleTagger(folder.resolve().name, members, balance=content.balanced, folder=folder)


def _at(member: Voter, text: str, words: Sequence[Offsets], own: Sequence[Sequence[Span]] | None = None) -> FloatArray:
    """(W, L) a member's probabilities at the words."""
    stretches = list(member.marginals([text], own))
    source = [(start + one.shift, end + one.shift) for one in stretches for start, end in one.words]
    values = [one.values for one in stretches if len(one.values)]
    rows = np.concatenate(values) if values else np.zeros((0, len(member.bio)), np.float32)
    return carry_over(source, rows, words)


def carry_over(source: Sequence[Offsets], probabilities: FloatArray, target: Sequence[Offsets]) -> FloatArray:
    """Probabilities of BIO labels at other words of the same text.

    A word takes the row of the source word that covers its first character; where it begins inside that word, B-X
    becomes I-X. A word that no source word covers is outside.

    Args:
        source: W words, ascending and disjoint. probabilities: (W, L). target: V words.

    Returns:
        (V, L).
    """
    if list(source) == list(target):
        return probabilities
    found = np.zeros((len(target), probabilities.shape[1]), dtype=np.float32)
    starts = np.array([start for start, _ in source], dtype=np.int64)
    for row, (start, _) in enumerate(target):
        place = int(np.searchsorted(starts, start, side="right")) - 1
        if place < 0 or source[place][1] <= start:
            found[row, 0] = 1.0
            continue
        found[row] = probabilities[place]
        if source[place][0] < start:
            found[row, 2::2] += found[row, 1::2]
            found[row, 1::2] = 0.0
    return found
