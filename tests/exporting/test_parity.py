"""Parity measures and texts: what they compare, and that they notice a wrong file."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.exporting import parity
from slonik.exporting.parity import calibration_texts, parity_texts
from slonik.exporting.report import Speed


def test_batches_have_three_lengths_two_sizes_and_padding() -> None:
    batches = parity.batches_of([list(range(10, 40)), list(range(50, 90))], 128, pad=1)
    assert {ids.shape for ids, _ in batches} == {(b, t) for b in (1, 4) for t in (4, 29, 128)}
    assert all((mask[0] == 1).all() for _, mask in batches)
    assert all((ids[mask == 0] == 1).all() for ids, mask in batches)
    assert any((mask == 0).any() for _, mask in batches)


def test_a_short_model_gets_batches_that_fit() -> None:
    assert {ids.shape[1] for ids, _ in parity.batches_of([[5, 6, 7]], 16, pad=1)} == {4, 8, 16}


def test_floor_messages_name_the_cosines_and_what_to_try() -> None:
    with pytest.raises(SlonikError, match=r"0\.9000.*--int8 static"):
        parity.check_agreement("m", "dynamic", parity.Agreement(0.9, 0.7, 500))
    with pytest.raises(SlonikError, match=r"differs from torch by 0\.01"):
        parity.check_difference("m", parity.Difference(0.01, 0.0, ((1, 4),)))
    parity.check_agreement("m", "dynamic", parity.Agreement(0.9995, 0.998, 500))


def test_not_a_number_is_no_agreement() -> None:
    left = np.ones((3, 4), dtype=np.float32)
    right = left.copy()
    right[1] = np.nan
    with pytest.raises(SlonikError):
        parity.check_agreement("m", "dynamic", parity.agreement(left, right))


def test_speed_sentences_follow_the_measurement() -> None:
    rounds = {
        "torch": (30.0, 60.0, 32.0),
        "fp32": (31.0, 55.0, 33.0),
        "int8": (6.0, 10.0, 8.0),
        "fp16": (60.0, 90.0, 64.0),
    }
    speed = Speed(rounds, texts=12)
    assert speed.milliseconds["int8"] == 8 and speed.spread("int8") == (6, 10) and speed.rounds == 3
    assert speed.sentence("int8") == "int8 is 5.00 times faster than torch (4.00 to 6.00 in 3 rounds)"
    assert speed.sentence("fp32") == "fp32 is not surely faster or slower than torch (0.97 to 1.09 times its speed)"
    assert speed.sentence("fp16") == "fp16 is 2.00 times slower than torch (1.50 to 2.00 in 3 rounds)"


def test_our_texts_are_russian_many_different_and_shared_by_neither_set() -> None:
    calibration, judged = calibration_texts(), parity_texts()
    assert len(judged) == len(set(judged)) == 500
    assert not set(calibration) & set(judged)
    assert calibration == calibration_texts()
    letters = "".join(judged)
    assert sum("а" <= letter <= "я" for letter in letters.lower()) > 0.7 * len(letters)
