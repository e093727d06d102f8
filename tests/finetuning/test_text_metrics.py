"""ROUGE, BLEU and chrF of Russian texts: those of the kept libraries, whose tokenizer must not drop Cyrillic."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.core.records import Record
from slonik.evaluation.statistics import value_of
from slonik.finetuning.text_metrics import rouge, rouge_l, words, written_metrics
from slonik.reporting.formatting import difference_cell

PAIRS = [
    ("Кот спит дома.", "Кот спит дома"),
    ("Ёлка стоит в «Нью-Йорке»", "елка стояла в Нью-Йорке"),
    ("", "Снег идёт"),
    ("the cat sat", "the cat lay"),
    ("а б в г", "а в г д"),
]


def test_equal_russian_texts_have_rouge_one_and_the_libraries_values_are_kept() -> None:
    found = rouge(PAIRS)
    assert found["rouge_1"][0] == found["rouge_2"][0] == found["rouge_l"][0] == 1.0
    assert found["rouge_l"][4] == pytest.approx(0.75) and found["rouge_1"][2] == 0.0
    assert found["rouge_1"][1] == pytest.approx(2 * 4 / 10)  # all but the verb
    assert rouge([("", "")])["rouge_1"] == [1.0] and words("Ёж — «ёж», 5 шт.") == ["еж", "еж", "5", "шт"]
    rng = np.random.default_rng(0)
    drawn = [tuple(" ".join(rng.choice(list("абвгд"), 8)) for _ in range(2)) for _ in range(30)]
    np.testing.assert_allclose([rouge_l(*pair) for pair in drawn], rouge(drawn)["rouge_l"])  # type: ignore[arg-type]


def test_bleu_and_chrf_are_sacrebleus_and_resample() -> None:
    from sacrebleu.metrics import BLEU, CHRF

    found = written_metrics(PAIRS)
    assert list(found) == ["rouge_l", "rouge_1", "rouge_2", "chrf", "bleu"]
    rng = np.random.default_rng(1)
    for counts in (np.ones(len(PAIRS)), np.bincount(rng.integers(0, 5, 5), minlength=5).astype(float)):
        rows = [pair for pair, count in zip(PAIRS, counts, strict=True) for _ in range(int(count))]
        given, right = [one for one, _ in rows], [other for _, other in rows]
        for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
            expected = metric.corpus_score(given, [right]).score / 100
            assert found[name].resampled(counts[None])[0] == pytest.approx(expected)
    assert 0 < value_of(found["chrf"]) < 1


@pytest.mark.parametrize(
    ("metric", "of"), [("mae_difference", "mae"), ("difference", "mae"), ("ece_difference", "ece")]
)
def test_a_lower_error_is_better(metric: str, of: str) -> None:
    def mark(low: float, high: float, name: str = metric, about: str = of) -> str:
        value = (low + high) / 2
        detail = {"of": about, "against": "b"}
        record = Record(suite="s", task="t", model="a - b", metric=name, value=value, low=low, high=high, detail=detail)
        return difference_cell(record).mark

    assert (mark(-0.3, -0.1), mark(0.1, 0.3), mark(-0.1, 0.1)) == ("better", "worse", "")
    assert mark(0.1, 0.3, "accuracy_difference", "accuracy") == "better"
