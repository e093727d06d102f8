"""Calibrate a trained tagger on the documents that chose it: how often spans of a confidence are right there.

What the map is, is in `slonik.runtime.tagging.calibration`. A tagger that was fitted to all documents (a CRF over hand
features) is calibrated by one that was not: the caller trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slonik.data.annotations.document import Document, Span, Tagger
from slonik.runtime.tagging.calibration import LEAST, Calibration
from slonik.tagging.matching import known_spans


def calibration_of(tagger: Tagger, documents: Sequence[Document]) -> Calibration | None:
    """The map for a tagger without one, on documents that it was not fitted to; None where they hold too few spans."""
    return fitted_on(documents, tagger.tag([document.text for document in documents]))


def fitted_on(documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> Calibration | None:
    """The map from predictions with confidences; of stretches that nobody annotated only spans on gold ones count."""
    sure: list[float] = []
    right: list[bool] = []
    places: list[int] = []
    for place, (document, spans) in enumerate(zip(documents, predicted, strict=True)):
        gold = {(span.start, span.end, span.label) for span in document.spans}
        for span in known_spans(document, spans):
            if span.confidence is not None:
                sure.append(span.confidence)
                right.append((span.start, span.end, span.label) in gold)
                places.append(place)
    return Calibration.fitted(sure, right, places)


def calibrate(folder: Path, tagger: Tagger, documents: Sequence[Document]) -> dict[str, Any]:
    """Calibrate the tagger in `folder` by what `tagger` (itself, or its like) says of the documents; facts of it."""
    return calibrate_by(folder, documents, tagger.tag([document.text for document in documents]))


def calibrate_by(folder: Path, documents: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> dict[str, Any]:
    """Calibrate the tagger in `folder` by predictions for documents that it, or its like, was not fitted to."""
    found = fitted_on(documents, predicted)
    if found is None:
        spans, texts = sum(map(len, predicted)), len(documents)
        return uncalibrated(f"{spans} spans were predicted in the {texts} documents for it, and {LEAST} are needed")
    found.write(folder)
    return {"calibration_error": found.after, "calibration_error_before": found.before}


def uncalibrated(reason: str) -> dict[str, Any]:
    """What the summary of a training says where confidences stay as the tagger gives them."""
    return {"calibration_error": None, "uncalibrated": f"confidence stays as it is: {reason}"}
