"""An ensemble is the mean of its members, whatever words they cut; it is saved with them, and it can teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.tagging.config import Distillation, System
from slonik.tagging.distillation import word_probabilities
from slonik.tagging.fit import Job, train_one
from slonik.tagging.making import new_tagger
from slonik.tagging.material import Material, training_examples
from slonik.tagging.models import load_tagger
from slonik.tagging.models.bilstm import save_bilstm
from slonik.tagging.models.ensemble_tagger import EnsembleTagger, check_members
from slonik.tagging.models.slovnet_tagger import SLOVNET
from tests.tagging.models.toys import LABELS, bilstm, documents, encoder

TEXTS = [one.text for one in documents()] + [""]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("members")
    return [save_bilstm(bilstm(crf=seed > 0, seed=seed), root / str(seed), Passport(name=str(seed))) for seed in (0, 1)]


@pytest.fixture(scope="module")
def ensemble(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> EnsembleTagger:
    job = Job(
        system=System(name="both", kind="ensemble", members=[str(folder) for folder in folders]), labels=LABELS,
        documents=[], stopping=0.1, overlap=8, seed=0, members=folders,
    )  # fmt: skip
    out = tmp_path_factory.mktemp("ensemble") / "out"
    train_one(job, out, out, out)
    loaded = load_tagger(out)
    assert isinstance(loaded, EnsembleTagger)
    return loaded


def test_probabilities_are_the_mean_of_the_members(ensemble: EnsembleTagger, folders: list[Path]) -> None:
    members = [load_tagger(folder) for folder in folders]
    words = [ensemble.features.split(text) for text in TEXTS]
    each = [word_probabilities(member, TEXTS, words) for member in members]  # type: ignore[arg-type]
    for number, scores in enumerate(ensemble.marginals(TEXTS)):
        assert scores.values.shape == (len(words[number]), len(LABELS))
        assert np.allclose(scores.values, (each[0][number] + each[1][number]) / 2, atol=1e-6)


def test_spans_have_confidences_and_an_empty_text_has_none(ensemble: EnsembleTagger) -> None:
    found = ensemble.tag(TEXTS)
    assert found[-1] == [] and any(found)
    assert all(0 < (span.confidence or 0) <= 1 for spans in found for span in spans)
    assert ensemble.describe()["members"] == ["bilstm", "bilstm-crf"] and ensemble.describe()["bytes"] > 0


def test_it_works_without_the_folders_that_it_was_made_of(ensemble: EnsembleTagger) -> None:
    assert ensemble.folder is not None and (ensemble.folder / "member-1" / "model.safetensors").is_file()


def test_it_teaches(ensemble: EnsembleTagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slonik.tagging import making
    from tests.tagging.models.toys import table

    monkeypatch.setattr(making, "navec_table", table, raising=False)
    monkeypatch.setattr(making, "word_table", lambda *_: table(), raising=False)
    lesson = Distillation(teacher="x", weight=1.0)
    system = System(name="student", kind="bilstm", lesson=lesson)
    student = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    material = Material(documents(), [], [], ensemble, tmp_path)
    example = training_examples(student, lesson, material)[0]
    said = next(iter(ensemble.marginals(TEXTS[:1]))).values
    assert np.allclose(example["teacher"], said[: len(example["teacher"])], atol=1e-3)


def test_what_cannot_vote_is_refused(tmp_path: Path, folders: list[Path]) -> None:
    one = load_tagger(folders[0])
    with pytest.raises(SlonikError, match="two taggers or more"):
        check_members([one])
    other = encoder(tmp_path / "e")
    assert check_members([one, other])
    if SLOVNET:
        pytest.importorskip("slovnet")
        news = load_tagger(SLOVNET)
        with pytest.raises(SlonikError, match="gives no probabilities"):
            check_members([one, news])
