"""Description lengths equal the code that would be sent, choose their penalty by it, and are as sure as they say."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.evaluation.logistic import fit_logistic
from slonik.inspection.probing.codelength import online_codelength


def _drawn(rng: np.random.Generator, n: int, dimensions: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 2, n)
    vectors = rng.normal(size=(n, dimensions)).astype(np.float32)
    vectors[np.arange(n), labels] += signal
    return vectors / np.float32(vectors.std()), labels.astype(str)


def test_the_code_is_that_of_probes_on_what_was_sent_before() -> None:
    vectors, labels = _drawn(np.random.default_rng(0), 40, 3, 1.5)
    found = online_codelength(vectors, labels, (7,), penalties=(0.1,))
    assert found.choice == 0.0
    assert found.uniform == 40.0
    first = np.flatnonzero(found.sentences[0] == 1.0)
    assert len(first) == 16  # by the uniform code, then 4 by a probe on these, then half by a probe on these 20
    model = fit_logistic(vectors[first], labels[first], c=0.1)
    own = 0.99 * model.probabilities(vectors)[np.arange(40), (labels == "1").astype(int)] + 0.005
    sent = np.isclose(found.sentences[0], -np.log2(own), atol=1e-3)
    assert sent[np.setdiff1d(np.arange(40), first)].sum() >= 4
    assert found.bits[0] == pytest.approx(found.sentences.sum())


def test_the_penalty_is_the_one_with_the_shortest_code_and_saying_so_is_paid_for() -> None:
    vectors, labels = _drawn(np.random.default_rng(1), 200, 12, 1.0)
    grid = (1e-4, 1e-2, 1.0, 100.0)
    alone = {c: online_codelength(vectors, labels, (0,), penalties=(c,)).bits[0] for c in grid}
    found = online_codelength(vectors, labels, (0,), penalties=grid)
    best = min(alone, key=lambda c: alone[c])
    assert found.settings == (best,)
    assert found.bits[0] == pytest.approx(alone[best] + 2.0)  # one of four
    assert alone[100.0] > alone[best] + 5  # which a fixed penalty would have cost


def test_noise_is_no_shorter_than_the_uniform_code_and_signal_is() -> None:
    rng = np.random.default_rng(2)
    noise = online_codelength(*_drawn(rng, 300, 4, 0.0), (0, 1))
    signal = online_codelength(*_drawn(rng, 300, 4, 4.0), (0, 1))
    assert len(noise.bits) == len(noise.settings) == 2
    assert noise.compression < 1.02
    assert signal.compression > 2.5
    low, high = signal.interval
    assert low < signal.compression < high


def test_intervals_hold_the_length_that_other_sentences_have() -> None:
    rng = np.random.default_rng(3)
    found = [online_codelength(*_drawn(rng, 80, 3, 1.5), (0, 1), penalties=(0.1, 1.0)) for _ in range(60)]
    truth = 80.0 / float(np.mean([code.per_sentence.sum() for code in found]))
    assert sum(code.interval[0] <= truth <= code.interval[1] for code in found) >= 54


def test_fewer_sentences_than_the_first_portion_cost_the_uniform_code() -> None:
    found = online_codelength(np.zeros((10, 3), dtype=np.float32), np.array(["0", "1"] * 5), (0,))
    assert found.bits == (10.0,)
    assert found.compression == 1.0
