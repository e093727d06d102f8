"""Control labels hang on the word that the task asks about, and can be learned where words can."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.inspection.probing.control import ASKED, SHARED, control_of
from slonik.inspection.probing.probes import LogisticProbe, fit_mlp
from slonik.inspection.probing.tasks import TaskData, task_of_rows

NOUNS = [f"сущ{n}" for n in range(40)]


def _data(words: bool = True) -> TaskData:
    """No noun is in two subsets; the label is the number of the verb."""
    rng = np.random.default_rng(0)
    rows, asked = [], []
    for split, nouns, size in (("tr", NOUNS[:24], 240), ("va", NOUNS[24:32], 80), ("te", NOUNS[32:], 80)):
        for number in range(size):
            label = int(rng.random() < 0.25)
            noun = nouns[int(rng.integers(len(nouns)))]
            rows.append((split, str(label), f"Вот{number} {noun} {'идут' if label else 'идёт'} {split}{number}"))
            asked.append(noun)
    return task_of_rows("subj_number", rows, words=asked if words else None)


@pytest.mark.parametrize("words", (True, False))
def test_labels_go_by_the_word_with_the_tasks_frequencies(words: bool) -> None:
    data = _data(words)
    control = control_of(data)
    assert control is not None
    assert control.by == (ASKED if words else SHARED)
    assert [word in text.lower() for word, text in zip(control.words, data.texts, strict=True)] == [True] * 400
    if words:
        assert set(control.words) == set(NOUNS)
    parts = [set(part.tolist()) for part in control.parts]
    assert sorted(set.union(*parts)) == list(range(400))
    assert sum(map(len, parts)) == 400
    shares = []
    for seed in range(30):
        task = control.labelled(seed)
        by_word: dict[str, set[str]] = {}
        for part in (task.train, task.validation, task.test):
            for word, label in zip(part.words, part.labels, strict=True):
                by_word.setdefault(word, set()).add(label)
        assert all(len(labels) == 1 for labels in by_word.values())
        assert set(task.test.words) <= set(task.train.words)
        shares.append(np.mean([next(iter(labels)) == "1" for labels in by_word.values()]))
    assert np.mean(shares) == pytest.approx((data.train.labels == "1").mean(), abs=0.06)
    assert np.std(shares) > 0.02


def test_a_probe_that_can_learn_words_does_so() -> None:
    data = _data()
    control = control_of(data)
    assert control is not None
    vectors = np.zeros((400, 40), dtype=np.float32)
    vectors[np.arange(400), [NOUNS.index(word) for word in control.words]] = 1.0
    task = control.labelled(1)
    assert len(task.classes) == 2
    features = control.features(vectors)
    assert LogisticProbe(features).fit(task, (10.0,)).test.mean() == 1.0
    assert fit_mlp(features, task, 0, (1e-5,)).test.mean() > 0.7
    nothing = control.features(np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32))
    assert LogisticProbe(nothing).fit(task, (1.0,)).test.mean() < 0.9


def test_sentences_without_a_common_word_have_no_control() -> None:
    rows = [(split, str(n % 2), f"{split}{n}а {split}{n}б") for split in ("tr", "va", "te") for n in range(30)]
    assert control_of(task_of_rows("gapping", rows)) is None
