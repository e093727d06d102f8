"""Control tasks (Hewitt and Liang 2019): labels that can be learned only by knowing words by heart.

Every word gets a random label with the task's own frequencies, and a sentence has the label of the word that the task
asks about: the subject for its number, the verb for its tense. Where that word is not known (files without `.words`),
it is the rarest word of the sentence that at least three sentences hold.

A word that no training sentence holds could only be guessed, and a guess is no control: sentences are parted anew, so
that every validation and test sentence shares its word with a training one. (Built tasks keep the words of their
subsets apart; there the task itself cannot be solved by heart, and the control says what a probe that could would do.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed
from slonik.inspection.probing.probes import Features, scale
from slonik.inspection.probing.tasks import Split, TaskData

ASKED = "the word that the task asks about"
SHARED = "the rarest word that three sentences share"
_SHARED_BY = 3
_FEWEST_TESTED = 10
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Control:
    """A control task without its labels.

    Attributes:
        task: the task that it controls. words: of every sentence, in the order of `task.texts`. by: how they were
            found.
        parts: places in `task.texts` of training, validation and test sentences.
    """

    task: TaskData
    words: tuple[str, ...]
    by: str
    parts: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]

    def labelled(self, seed: int) -> TaskData:
        """The control task with the labels of one draw."""
        labels, counts = np.unique(self.task.train.labels, return_counts=True)
        edges = np.cumsum(counts) / counts.sum()

        def label(word: str) -> str:
            draw = derive_seed(seed, "control", self.task.task.id, word) / 2**63
            return str(labels[min(int(np.searchsorted(edges, draw, side="right")), len(labels) - 1)])

        drawn = {word: label(word) for word in set(self.words)}
        texts = self.task.texts
        train, validation, test = (
            Split(
                tuple(texts[at] for at in part),
                np.array([drawn[self.words[at]] for at in part], dtype=np.str_),
                tuple(self.words[at] for at in part),
            )
            for part in self.parts
        )
        return TaskData(self.task.task, train, validation, test, self.task.sha256)

    def features(self, vectors: NDArray[np.floating]) -> Features:
        """Vectors of the parts, from those of all sentences (N, D) in the order of `task.texts`."""
        return scale(*(np.asarray(vectors[part], dtype=np.float32) for part in self.parts))


def control_of(data: TaskData) -> Control | None:
    """The control task of a task; None where hardly any two sentences share a word."""
    known = all(len(part.words) == len(part) for part in (data.train, data.validation, data.test))
    if known:
        words = [*data.train.words, *data.validation.words, *data.test.words]
    else:
        words = _shared_words(data.texts)
    sizes = len(data.train), len(data.validation), len(data.test)
    order = np.random.default_rng(derive_seed(0, "control sentences", data.task.id)).permutation(len(words))
    seen: set[str] = set()
    first: list[int] = []
    again: list[int] = []
    for at in order:
        (again if words[at] in seen else first).append(int(at))
        seen.add(words[at])
    held = sizes[1] + sizes[2]
    share = min(1.0, len(again) / held)
    validation, test = int(share * sizes[1]), int(share * sizes[2])
    if test < _FEWEST_TESTED or validation < 2:
        return None
    parts = [*first, *again[validation + test :]], again[:validation], again[validation : validation + test]
    arrays = [np.sort(np.array(part, dtype=np.intp)) for part in parts]
    return Control(data, tuple(words), ASKED if known else SHARED, (arrays[0], arrays[1], arrays[2]))


def _shared_words(texts: Sequence[str]) -> list[str]:
    """For every text its rarest word that at least three texts hold, else its first one; ties go by the alphabet."""
    held = [list(dict.fromkeys(_WORD.findall(text.lower()))) or [text] for text in texts]
    counts = Counter(word for words in held for word in words)
    found = []
    for words in held:
        shared = [word for word in words if counts[word] >= _SHARED_BY]
        found.append(min(shared, key=lambda word: (counts[word], word)) if shared else words[0])
    return found
