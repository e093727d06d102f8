"""Distillation from a tagger: the unlabelled texts, and its soft labels for every word, computed once and kept on disk.

Teacher and student may cut words differently: probabilities are carried over by character offsets. Labelled texts and
unlabelled ones go the same way. Texts drawn by chance hold the frequent labels again and again and the rare ones hardly
ever: `texts_with_most_names` keeps those where the teacher finds rare ones; that the choice leans on the teacher's own
belief, wrong ones included, is its price. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.identity import code_identity
from slonik.data.annotations.document import Span
from slonik.data.annotations.tags import OUTSIDE, Offsets, split_tag
from slonik.data.readers import read_texts
from slonik.runtime.tagging.labels import BioLabels, PlainTags, TagLabels
from slonik.tagging.config import Distillation
from slonik.tagging.models.ensemble_tagger import EnsembleTagger, carry_over
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.train.ragged import Ragged
from slonik.train.teacher_cache import cached_token_states


class Splitter(Protocol):
    """What says what the words of a text are."""

    def split(self, text: str) -> list[Offsets]: ...


Teacher: TypeAlias = NeuralTagger | EnsembleTagger
"""A tagger that says how probable each label of each word is."""


def draw_unlabelled(lesson: Distillation, seed: int) -> list[str]:
    """Distinct unlabelled texts of the files, drawn by seed, in their order: `max_texts`, or `candidates` if more.

    Raises:
        SlonikError: a file is missing, or no text is long enough.
    """
    if not lesson.unlabelled or lesson.max_texts == 0:
        return []
    texts = list(dict.fromkeys(text for text in read_texts(lesson.unlabelled) if len(text) >= lesson.shortest))
    if not texts:
        raise SlonikError(f"no text of {lesson.shortest} characters or more in {', '.join(lesson.unlabelled)}")
    count = max(lesson.max_texts, lesson.candidates)
    if len(texts) <= count:
        return texts
    rng = np.random.default_rng(derive_seed(seed, "unlabelled"))
    return [texts[index] for index in sorted(rng.choice(len(texts), count, replace=False))]


def soft_labels(
    teacher: Teacher,
    texts: Sequence[str],
    features: Splitter,
    labels: TagLabels,
    folder: Path,
    own: Sequence[Sequence[Span]] | None = None,
) -> Ragged:
    """Per text (W, L) float16 probabilities of the student's words, from the cache or computed into it.

    Args:
        features: of the student: they say what its words are.
        labels: of the student.
        folder: cache; each (teacher, texts, code) has a folder in it.
        own: spans of texts that the teacher was trained on: its list of names is asked without what they gave to it.

    Raises:
        SlonikError: the two do not tag the same classes, a full disk, a damaged cache.
    """
    missing = sorted(set(labels.classes) - set(teacher.labels))
    if missing or (isinstance(teacher.bio, BioLabels) and teacher.bio != labels):
        raise SlonikError(
            f"teacher and student do not tag the same classes: {', '.join(teacher.labels)} against "
            f"{', '.join(labels.classes)}; map or drop labels (mapping) until they do"
        )
    lengths = np.array([len(features.split(text)) for text in texts], dtype=np.int64)
    given = dict(zip(texts, own, strict=True)) if own is not None else {}

    def states(some: Sequence[str]) -> list[NDArray[Any]]:
        mine = [given[text] for text in some] if own is not None else None
        return word_probabilities(teacher, some, [features.split(text) for text in some], mine, labels)

    parts = [teacher.model] if isinstance(teacher, NeuralTagger) else [*teacher.members]
    code = {type(part).__module__ for part in (teacher, *parts, teacher.features, features)}
    identity = {"teacher": teacher.identity(), "labels": list(labels.names), "code": code_identity(*sorted(code))}
    if own is not None:
        identity["own"] = sha256_json([[[one.start, one.end, one.label] for one in spans] for spans in own])
    return cached_token_states(
        states, texts, lengths, folder, dimension=len(labels), identity=identity, name=teacher.name
    )


def word_probabilities(
    teacher: Teacher,
    texts: Sequence[str],
    words: Sequence[Sequence[Offsets]],
    own: Sequence[Sequence[Span]] | None = None,
    labels: TagLabels | None = None,
) -> list[NDArray[np.float32]]:
    """(W, L) per text: the teacher's probabilities at the given words, of the student's `labels` (None = its own)."""
    wanted_labels = teacher.bio if labels is None else labels
    stretches: list[list[tuple[list[Offsets], NDArray[np.float32]]]] = [[] for _ in texts]
    for scores in teacher.marginals(texts, own):
        shifted = [(start + scores.shift, end + scores.shift) for start, end in scores.words]
        stretches[scores.text].append((shifted, as_bio(scores.values, teacher.bio, wanted_labels)))
    found = []
    for parts, wanted in zip(stretches, words, strict=True):
        source = [offsets for own, _ in parts for offsets in own]
        values = [rows for _, rows in parts if len(rows)]
        rows = np.concatenate(values) if values else np.zeros((0, len(wanted_labels)), np.float32)
        found.append(carry_over(source, rows, wanted))
    return found


def as_bio(values: NDArray[np.float32], given: TagLabels, wanted: TagLabels) -> NDArray[np.float32]:
    """Probabilities (W, P) of somebody else's tags as (W, L) of BIO labels; of BIO labels they are as they are.

    L- and E- count as I-, U- and S- as B-; a tag inside an entity (a plain label too) begins one where the word before
    is likeliest of another label. Classes that are not wanted are outside.
    """
    if not isinstance(given, PlainTags) or isinstance(wanted, PlainTags):
        return values
    found = np.zeros((len(values), len(wanted)), dtype=np.float32)
    places = {name: number for number, name in enumerate(wanted.names)}
    if not len(values):
        return found
    parts = [split_tag(tag) for tag in given.tags]
    before = ["", *(parts[place][1] for place in values.argmax(-1)[:-1])]
    for column, (prefix, label) in enumerate(parts):
        if prefix == OUTSIDE or f"B-{label}" not in places:
            found[:, 0] += values[:, column]
            continue
        begins = np.array([prefix in "BS" or one != label for one in before])
        found[:, places[f"B-{label}"]] += np.where(begins, values[:, column], 0)
        found[:, places[f"I-{label}"]] += np.where(begins, 0, values[:, column])
    return found


def texts_with_most_names(teacher: Teacher, texts: Sequence[str], count: int, cache: Path) -> list[str]:
    """The `count` texts with most names by the teacher's belief, rare labels counting more, in their order.

    A text scores the sum over labels of its expected number of names divided by the root of that label's expected
    number in all `texts`; of equal scores the earlier text wins.

    Args:
        cache: folder of soft labels.

    Raises:
        SlonikError: as `soft_labels` does.
    """
    if len(texts) <= count:
        return list(texts)
    labels = BioLabels.of(teacher.labels)
    soft = soft_labels(teacher, texts, teacher.features, labels, cache)
    names = np.stack([expected_names(rows) for rows in soft])
    scores = (names / np.sqrt(np.maximum(names.sum(0), 1e-9))).sum(-1)
    kept = np.argsort(-scores, kind="stable")[:count]
    return [texts[index] for index in sorted(kept.tolist())]


def expected_names(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """(C,) the expected number of names of each class, from (W, L) probabilities of BIO labels."""
    begins: NDArray[np.float64] = probabilities[:, 1::2].astype(np.float64).sum(0)
    return begins
