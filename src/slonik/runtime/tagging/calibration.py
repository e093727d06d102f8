"""Confidence that means what it says: a tagger's probability of a span, mapped to how often such spans are right.

The map is logistic in the log odds, p -> 1 / (1 + exp(-(slope * log(p / (1 - p)) + intercept))): two numbers, fitted on
documents that chose the checkpoint. It keeps the order of spans (the slope is positive), so no metric of spans changes.
After: Platt 1999; Guo et al. 2017 (temperature: the slope alone). It lies beside the tagger as `calibration.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.data.annotations.document import Span
from slonik.text.lines import read_json

CALIBRATION_FILE = "calibration.json"
LEAST = 20
"""Spans that a calibration is made of, at least."""
BINS = 10
_EDGE = 1e-4  # probabilities stay so far from 0 and 1: none is certain
_PRIOR = 5.0  # weight of "the tagger is right as it is" (slope 1, intercept 0): that of some twenty spans
_WITHIN = 0.2  # correlation of right and wrong within a document
_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """A fitted map.

    Attributes:
        slope, intercept: of the log odds; 1 and 0 change nothing. The slope is positive.
        spans: how many predicted spans it was fitted on.
        before, after: expected calibration error of these spans; that after is a little flattering.
    """

    slope: float
    intercept: float
    spans: int = 0
    before: float | None = None
    after: float | None = None

    def apply(self, spans: Iterable[Span]) -> list[Span]:
        """The same spans with calibrated confidence; a span without one stays as it is."""
        return [
            span if span.confidence is None else replace(span, confidence=float(self.mapped([span.confidence])[0]))
            for span in spans
        ]

    def mapped(self, probabilities: ArrayLike) -> NDArray[np.float64]:
        """(N,) probabilities to (N,)."""
        found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-(self.slope * _log_odds(probabilities) + self.intercept)))
        return found

    def write(self, folder: Path) -> None:
        """Write `calibration.json` into the folder of a tagger."""
        values = {name: getattr(self, name) for name in ("slope", "intercept", "spans", "before", "after")}
        write_json(folder / CALIBRATION_FILE, {"format": 1, **values})

    @classmethod
    def open(cls, folder: Path | None) -> Calibration | None:
        """That of a tagger's folder; None where it has none.

        Raises:
            SlonikError: the file is damaged.
        """
        if folder is None or not (folder / CALIBRATION_FILE).is_file():
            return None
        content = read_json(folder / CALIBRATION_FILE)
        try:
            found = cls(float(content["slope"]), float(content["intercept"]), int(content.get("spans", 0)))
        except (KeyError, TypeError, ValueError):
            raise SlonikError(f"{folder / CALIBRATION_FILE} lacks slope or intercept: copy the folder whole") from None
        if not (found.slope > 0 and np.isfinite(found.slope) and np.isfinite(found.intercept)):
            raise SlonikError(f"{folder / CALIBRATION_FILE} has the slope {found.slope}: it must be above 0")
        return replace(found, before=content.get("before"), after=content.get("after"))

    @classmethod
    def fitted(
        cls, confidences: Sequence[float], right: Sequence[bool], documents: Sequence[int] | None = None
    ) -> Calibration | None:
        """The likeliest map, held to the identity by a prior (Newton's steps); None for fewer than `LEAST` spans.

        Args:
            documents: of each span the number of its document: spans of one document say less than as many of several
                (Kish's design effect), so that four long texts do not outweigh the prior.
        """
        if len(confidences) < LEAST:
            return None
        mean = len(confidences) / len(set(documents)) if documents is not None else 1.0
        worth = 1.0 / (1.0 + (mean - 1.0) * _WITHIN)
        x = np.stack([_log_odds(confidences), np.ones(len(confidences))], 1)
        y = np.asarray(right, dtype=np.float64)
        weights = prior = np.array([1.0, 0.0])
        for _ in range(_STEPS):
            p = 1.0 / (1.0 + np.exp(-(x @ weights)))
            gradient = worth * x.T @ (p - y) + _PRIOR * (weights - prior)
            hessian = worth * (x * (p * (1 - p))[:, None]).T @ x + _PRIOR * np.eye(2)
            step = np.linalg.solve(hessian, gradient)
            weights = weights - step / max(1.0, float(np.abs(step).max()))
            if float(np.abs(step).max()) < 1e-9:
                break
        found = cls(max(float(weights[0]), 1e-3), float(weights[1]), len(y))
        before, after = calibration_error(confidences, right), calibration_error(found.mapped(confidences), right)
        return replace(found, before=before, after=after)


def calibrated(calibration: Calibration | None, found: list[list[Span]]) -> list[list[Span]]:
    """Spans of texts with calibrated confidence; as they are where there is no calibration."""
    return found if calibration is None else [calibration.apply(spans) for spans in found]


def calibration_error(confidences: ArrayLike, right: ArrayLike) -> float:
    """Expected calibration error of spans: |mean confidence - share right| of ten equal bins, weighted by their spans.

    0 for no span. Source: Naeini et al. 2015.
    """
    sure, hits = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not len(sure):
        return 0.0
    places = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(places, sure, BINS) - np.bincount(places, hits, BINS)
    return float(np.abs(gaps).sum() / len(sure))


def _log_odds(probabilities: ArrayLike) -> NDArray[np.float64]:
    p = np.clip(np.asarray(probabilities, dtype=np.float64), _EDGE, 1 - _EDGE)
    found: NDArray[np.float64] = np.log(p / (1 - p))
    return found
