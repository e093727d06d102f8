"""Training one tagger: it learns what it sees, the development set chooses, a student takes soft labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.tagging import making
from slonik.tagging.config import Distillation, System
from slonik.tagging.data import line_keys
from slonik.tagging.distillation import word_probabilities
from slonik.tagging.fit import Job, fit_tagger, train_one
from slonik.tagging.making import new_tagger
from slonik.tagging.matching import exact_f1
from slonik.tagging.material import Material, training_examples
from slonik.tagging.models.bilstm import BiLstmConfig
from slonik.tagging.models.word_features import WordFeatures
from slonik.words.train import train_words
from tests.tagging.models.toys import LABELS, bilstm, documents, table
from tests.tiny.models import checkpoint

SIZES = {"hidden": 16, "character_features": 8, "learnt_words": 8, "dropout": 0.0, "word_dropout": 0.0}
QUICK = {"epochs": 2, "batch_tokens": 64}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "navec_table", table)


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


def test_the_teacher_reads_each_unlabelled_text_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"Хакер номер {number} напал на банк «Северный»." for number in range(6)]
    (tmp_path / "more.txt").write_text("\n".join(lines), encoding="utf-8")
    lesson = Distillation(
        teacher="x", unlabelled=(str(tmp_path / "more.txt"),), max_texts=2, candidates=6, shortest=10, weight=0.0
    )
    system = System(name="mine", kind="bilstm", sizes=BiLstmConfig(**SIZES), tuning=QUICK, lesson=lesson)
    teacher, read = bilstm(seed=1), []
    whole = teacher.marginals

    def marginals(texts: list[str], own: object = None) -> object:
        read.extend(texts)
        return whole(texts, own)  # type: ignore[arg-type]

    monkeypatch.setattr(teacher, "marginals", marginals)
    held = line_keys([lines[0]])
    job = Job(
        system=system, labels=LABELS, documents=documents(), stopping=0.2, overlap=8, seed=0, teacher=teacher,
        held_back=held,
    )  # fmt: skip
    summary = train_one(job, tmp_path / "out", tmp_path / "scratch", tmp_path / "cache")
    assert sorted(read) == lines[1:] and summary["unlabelled"] == 2
    assert summary["unlabelled texts with lines of test texts left out"] == 1
    fit, development = documents()[:6], documents()[6:]
    student = new_tagger(system, LABELS, fit, unlabelled=lines[4:], overlap=8, seed=0)
    apart = Material(fit, development, lines[4:], teacher, tmp_path / "apart")
    chosen = Material(fit, development, lines[4:], teacher, tmp_path / "cache", candidates=lines[1:])
    pairs = zip(
        training_examples(student, lesson, apart)[-2:], training_examples(student, lesson, chosen)[-2:], strict=True
    )
    assert all(np.array_equal(one["teacher"], other["teacher"]) for one, other in pairs)


def test_a_tagger_takes_vectors_of_ones_own_instead_of_navec(tmp_path: Path) -> None:
    texts = [one.text for one in documents()]
    train_words(texts * 3, out=tmp_path / "words", dimensions=12, epochs=1, min_count=1, set=["tokens=tagger"])
    system = System(
        name="mine", kind="bilstm", vectors=str(tmp_path / "words"), sizes=BiLstmConfig(**SIZES), tuning=QUICK
    )
    tagger = new_tagger(system, LABELS, documents(), overlap=8, seed=0)
    assert isinstance(tagger.features, WordFeatures) and tagger.features.table.dimension == 12
    known = [word for word in tagger.features.words if word.isalnum()]
    assert known and all(tagger.features.table.number(word) < tagger.features.table.unknown for word in known)
    assert len(tagger.tag(texts)) == len(texts)
    navec = system.model_copy(update={"vectors": None})
    assert system.settings() == navec.settings()  # what they hold decides, not where they lie
    starts = [Job(system=one, labels=LABELS, documents=documents(), stopping=0.1, overlap=8, seed=0).identities["start"]
              for one in (system, navec)]  # fmt: skip
    assert starts[0] != starts[1]
    other = tmp_path / "english.vec"
    other.write_text("1 2\nelephant 1 0\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="these vectors are of other words"):
        new_tagger(system.model_copy(update={"vectors": str(other)}), LABELS, documents(), overlap=8, seed=0)
    with pytest.raises(ValueError, match="no use for vectors"):
        System(name="crf", kind="crf", vectors="x.vec")
