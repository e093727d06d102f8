"""What a teacher says about every word of some texts, computed once and kept on disk in half precision.

Teacher and student may cut words differently: probabilities are carried over by character offsets. Labelled texts and
unlabelled ones go the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.data.annotations.tags import Offsets
from slonik.data.readers import read_texts
from slonik.tagging.config import Lesson
from slonik.tagging.models.bio import BioLabels
from slonik.tagging.models.neural_tagger import Features, NeuralTagger
from slonik.train.ragged import Ragged
from slonik.train.teacher_cache import cached_token_states


def draw_unlabelled(lesson: Lesson, seed: int) -> list[str]:
    """Distinct texts of the lesson's files, drawn by seed, in their order: `max_texts`, or `candidates` if more.

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
    teacher: NeuralTagger, texts: Sequence[str], features: Features, labels: BioLabels, folder: Path
) -> Ragged:
    """Per text (W, L) float16 probabilities of the student's words, from the cache or computed into it.

    Args:
        features: of the student: they say what its words are.
        labels: of the student.
        folder: cache; each (teacher, texts) has a folder in it.

    Raises:
        SlonikError: the two do not tag the same classes, a full disk, a damaged cache.
    """
    if teacher.bio != labels:
        raise SlonikError(
            f"teacher and student do not tag the same classes: {', '.join(teacher.labels)} against "
            f"{', '.join(labels.classes)}"
        )
    words = [features.split(text) for text in texts]
    lengths = np.array([len(one) for one in words], dtype=np.int64)
    place = {id(text): number for number, text in enumerate(texts)}

    def states(some: Sequence[str]) -> list[NDArray[Any]]:
        return word_probabilities(teacher, some, [words[place[id(text)]] for text in some])

    described = teacher.describe()
    identity = {
        "tagger": described.get("weights_hash", described),
        "labels": list(labels.names),
        "autocast": str(teacher.autocast),
    }
    return cached_token_states(
        states, texts, lengths, folder, dimension=len(labels), identity=identity, name=teacher.name
    )


def word_probabilities(
    teacher: NeuralTagger, texts: Sequence[str], words: Sequence[Sequence[Offsets]]
) -> list[NDArray[np.float32]]:
    """(W, L) per text: the teacher's probabilities at the given words."""
    pieces: list[list[tuple[list[Offsets], NDArray[np.float32]]]] = [[] for _ in texts]
    for scores in teacher.marginals(texts):
        shifted = [(start + scores.shift, end + scores.shift) for start, end in scores.words]
        pieces[scores.text].append((shifted, scores.values))
    found = []
    for parts, wanted in zip(pieces, words, strict=True):
        source = [offsets for own, _ in parts for offsets in own]
        values = [rows for _, rows in parts if len(rows)]
        rows = np.concatenate(values) if values else np.zeros((0, len(teacher.bio)), np.float32)
        found.append(carry_over(source, rows, wanted))
    return found


def carry_over(
    source: Sequence[Offsets], probabilities: NDArray[np.float32], target: Sequence[Offsets]
) -> NDArray[np.float32]:
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
