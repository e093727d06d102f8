"""Which documents a tagger's confidence is calibrated on: those that neither it nor its members were fitted to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Document
from slonik.runtime.tagging.calibration import CALIBRATION_FILE, Calibration
from slonik.runtime.tagging.labels import BioLabels
from slonik.tagging import fit as fitting
from slonik.tagging.config import System
from slonik.tagging.data import hold_out, text_key
from slonik.tagging.fit import Job, train_one
from slonik.tagging.models import load_tagger
from slonik.tagging.models.feature_crf import train_crf
from slonik.tagging.train import train_tagger
from tests.tagging.models.security_texts import documents

HAND = {"iterations": 8, "clusters": 0}
SYSTEM = System(name="crf", kind="crf", hand=HAND)  # type: ignore[arg-type]
LABELS = BioLabels(tuple(sorted({span.label for document in documents(40) for span in document.spans})))


def job(members: list[Path], systems: list[System | None], **changes: Any) -> Job:
    both = System(name="both", kind="ensemble", members=[str(member) for member in members])
    given: dict[str, Any] = {"documents": documents(40), "stopping": 0.3, "overlap": 8, "seed": 0, **changes}
    return Job(system=both, labels=LABELS, members=members, member_systems=systems, **given)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("members")
    for name in ("one", "two"):
        train_crf(documents(40), root / name, SYSTEM.hand, lists=[{("x", name): LABELS.classes[0]}])
    return [root / "one", root / "two"]


def test_an_ensemble_with_crfs_is_calibrated_by_crfs_that_have_not_seen_the_documents(
    members: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[set[str]] = []

    def noted(given: list[Document], *rest: Any, **more: Any) -> Any:
        fitted.append({text_key(one.text) for one in given})
        return train_crf(given, *rest, **more)

    monkeypatch.setattr(fitting, "train_crf", noted)
    summary = train_one(job(members, [SYSTEM, SYSTEM]), tmp_path / "both", tmp_path / "scratch", tmp_path / "cache")
    _, development = hold_out(documents(40), 0.3, 0)
    held = {text_key(one.text) for one in development}
    assert len(fitted) == 2 and all(len(texts) == 28 and not texts & held for texts in fitted)
    found = Calibration.open(tmp_path / "both")
    assert found is not None and found.spans > 20 and summary["calibration_error"] == found.after
    assert not list((tmp_path / "scratch").iterdir())
    tagger = load_tagger(tmp_path / "both")
    text = documents(1, seed=9)[0].text
    given = [span.confidence for span in tagger.tag([text])[0]]
    tagger.calibration = None  # type: ignore[attr-defined]
    plain = [span.confidence or 0 for span in tagger.tag([text])[0]]
    assert plain and given == pytest.approx(found.mapped(plain))


@pytest.mark.parametrize(
    ("systems", "changes", "why"),
    [
        ([SYSTEM, None], {}, "two was trained on documents that would calibrate it"),
        ([SYSTEM, System(name="in", kind="ensemble", members=["a", "b"])], {}, "its member in is an ensemble itself"),
        (
            [System(name="raw", kind="crf", hand={**HAND, "calibrate": False}), SYSTEM],
            {},
            "calibrate of its member raw",
        ),  # type: ignore[arg-type]
        ([None, None], {"documents": []}, "no documents were given to calibrate it on"),
    ],
)
def test_an_ensemble_that_cannot_be_calibrated_says_why(
    members: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systems: Any, changes: Any, why: str
) -> None:
    monkeypatch.setattr(fitting, "_fit_crf", lambda job, given, folder: (load_tagger(members[0]), {}))
    summary = train_one(job(members, systems, **changes), tmp_path / "both", tmp_path / "scratch", tmp_path / "cache")
    assert why in summary["uncalibrated"] and not (tmp_path / "both" / CALIBRATION_FILE).exists()


def test_an_ensemble_of_folders_is_calibrated_on_texts_that_no_member_knows(
    members: list[Path], tmp_path: Path
) -> None:
    told: list[str] = []
    texts = [*documents(40)[:3], *documents(25, seed=7)]
    found = train_tagger("ensemble", texts, members=members, out=tmp_path / "both", announce=told.append)
    assert (tmp_path / "both" / CALIBRATION_FILE).is_file() and "uncalibrated" not in found.summary
    assert "  3 texts left out, which members were trained on" in told
    with pytest.raises(SlonikError, match="members were trained on every text"):
        train_tagger("ensemble", documents(40), members=members, out=tmp_path / "none")
    bare = train_tagger("ensemble", members=members, out=tmp_path / "bare")
    assert bare.summary["uncalibrated"].startswith("confidence stays as it is: no documents were given")


def test_a_crf_of_one_document_says_that_it_has_no_calibration(tmp_path: Path) -> None:
    found = train_tagger("crf", documents(1), out=tmp_path / "crf", set={"system.hand": HAND})
    assert found.summary["uncalibrated"] == "confidence stays as it is: one document is not enough"
    few = train_tagger("crf", documents(2), out=tmp_path / "few", set={"system.hand": HAND})
    assert "are needed" in few.summary["uncalibrated"] and not (tmp_path / "few" / CALIBRATION_FILE).exists()
