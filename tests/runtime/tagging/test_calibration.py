"""Calibrated confidence: the map that is fitted, what it does to spans, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Span
from slonik.runtime.tagging.calibration import CALIBRATION_FILE, Calibration, calibration_error


def _spans(count: int) -> tuple[list[float], list[bool]]:
    """Confidences that promise too much: of those at p, p squared are right."""
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.3, 0.999, count)
    return sure.tolist(), (draw.uniform(size=count) < sure**2).tolist()


def test_the_map_is_that_of_logistic_regression_and_mends_the_error() -> None:
    sure, right = _spans(3000)
    found = Calibration.fitted(sure, right)
    assert found is not None and found.spans == 3000
    odds = np.log(np.array(sure) / (1 - np.array(sure)))[:, None]
    peer = LogisticRegression(C=np.inf).fit(odds, right)
    assert (found.slope, found.intercept) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=0.03)
    fresh, truth = _spans(3000)
    assert found.before == pytest.approx(calibration_error(sure, right)) and found.before > 0.1
    assert calibration_error(found.mapped(fresh), truth) < 0.03


def test_order_is_kept_and_few_or_one_sided_spans_do_no_harm() -> None:
    sure, right = _spans(40)
    for said in (right, [True] * 40, [False] * 40, [not one for one in right]):
        found = Calibration.fitted(sure, said)
        assert found is not None and found.slope > 0
        mapped = found.mapped(sorted(sure))
        assert (np.diff(mapped) >= 0).all() and (mapped > 0).all() and (mapped < 1).all()
    assert Calibration.fitted(sure[:19], right[:19]) is None
    spans = Calibration(1.0, 0.0).apply([Span(0, 1, "A", 0.7), Span(2, 3, "B"), Span(4, 5, "C", 1.0)])
    assert [one.confidence for one in spans] == [pytest.approx(0.7), None, pytest.approx(0.9999)]


def test_the_error_is_that_of_ten_bins() -> None:
    assert calibration_error([0.95] * 4 + [0.15] * 4, [1, 1, 0, 0, 0, 0, 0, 0]) == pytest.approx((0.45 + 0.15) / 2)
    assert calibration_error([1.0], [True]) == 0 and calibration_error([], []) == 0


def test_its_file(tmp_path: Path) -> None:
    sure, right = _spans(100)
    found = Calibration.fitted(sure, right)
    assert found is not None and Calibration.open(tmp_path) is None and Calibration.open(None) is None
    found.write(tmp_path)
    assert Calibration.open(tmp_path) == found
    for content, message in (('{"slope": 1}', "lacks slope or intercept"), ('{"slope": 0, "intercept": 0}', "above 0")):
        (tmp_path / CALIBRATION_FILE).write_text(content, encoding="utf-8")
        with pytest.raises(SlonikError, match=message):
            Calibration.open(tmp_path)


def test_spans_of_few_documents_weigh_less_than_as_many_of_many() -> None:
    sure, right = _spans(200)
    many, few = (Calibration.fitted(sure, right, [n % count for n in range(200)]) for count in (200, 4))
    assert many is not None and few is not None
    assert abs(few.slope - 1) + abs(few.intercept) < 0.8 * (abs(many.slope - 1) + abs(many.intercept))
