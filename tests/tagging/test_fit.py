"""Training one tagger: it learns what it sees, the development set chooses, a student takes soft labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.tagging import fit as tagging_fit
from slonik.tagging.config import Distillation, System
from slonik.tagging.distillation import word_probabilities
from slonik.tagging.fit import Material, fit_tagger, new_tagger, training_examples
from slonik.tagging.matching import exact_f1
from slonik.tagging.models.bilstm import BiLstmConfig
from tests.tagging.models.toys import LABELS, bilstm, documents, table
from tests.tiny.models import checkpoint

SIZES = {"hidden": 16, "character_features": 8, "learnt_words": 8, "dropout": 0.0, "word_dropout": 0.0}
QUICK = {"epochs": 2, "batch_tokens": 64}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging_fit, "navec_table", table)


@pytest.mark.parametrize("crf", [False, True])
def test_a_tagger_learns_the_texts_that_it_sees(tmp_path: Path, crf: bool) -> None:
    tuning = {"epochs": 40, "batch_tokens": 32, "evaluations": 1, "learning_rate": 1e-2}
    system = System(name="mine", kind="bilstm", crf=crf, sizes=BiLstmConfig(**SIZES), tuning=tuning)
    texts = [one.text for one in documents()]
    tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    assert exact_f1(documents(), tagger.tag(texts)) < 0.3
    material = Material(documents(), documents(), [], None, tmp_path)
    fit_tagger(tagger, system, material, tmp_path / "run", seed=0)
    assert exact_f1(documents(), tagger.tag(texts)) > 0.95


def test_where_f1_is_zero_the_trained_tagger_is_kept(tmp_path: Path) -> None:
    system = System(name="mine", kind="bilstm", sizes=BiLstmConfig(**SIZES), tuning={**QUICK, "epochs": 20})
    tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    material = Material(documents()[:6], documents()[6:7], [], None, tmp_path)  # a text without names: F1 is always 0
    found = fit_tagger(tagger, system, material, tmp_path / "run", seed=0)
    assert found.best is not None and found.best.step > 0 and found.best.metrics["f1"] == 0


def test_an_encoder_can_be_the_student(tmp_path: Path) -> None:
    lesson = Distillation(teacher="x", weight=1.0)
    model = str(checkpoint(tmp_path / "tiny", "bert"))
    system = System(name="encoder", model=model, tuning={**QUICK, "max_length": 32}, lesson=lesson)
    teacher, student = bilstm(window=8, overlap=2), new_tagger(system, LABELS, [], overlap=8, seed=0)
    texts = [one.text for one in documents()]
    material = Material(documents(), documents(), texts[:2], teacher, tmp_path / "cache")
    examples = training_examples(student, system.lesson, material)
    first = examples[0]
    said = word_probabilities(teacher, texts[:1], [student.features.split(texts[0])])[0]
    owned = len(first["positions"])
    assert np.allclose(first["teacher"], said[:owned], atol=1e-3) and first["teacher"].shape == (owned, len(LABELS))
    assert first["input_ids"].max() > 0 and (examples[-1]["tags"] == -100).all()
    silent = Distillation(teacher="x", weight=0.0)
    plain = training_examples(student, silent, Material(documents(), [], [], teacher, tmp_path / "never"))
    assert not (tmp_path / "never").exists() and plain[0]["teacher"][:, 0].all() and (plain[0]["tags"] >= 0).all()
    summary = fit_tagger(student, system, material, tmp_path / "run", seed=0)
    assert summary.step > 0 and summary.best is not None
