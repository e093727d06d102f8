"""A cut student learns from its original, and one that does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slonik import models
from slonik.cli.main import main
from slonik.compression.compress import compress
from slonik.compression.config import CorpusConfig, DistillConfig
from slonik.compression.distill import DistillRecipe, distill, run_distill
from slonik.compression.objective import DistillationTerms
from slonik.compression.plan import keep_layers, whole
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.models.encoder import TorchEncoder
from slonik.models.vocabulary import matching_ids
from tests import tiny
from tests.compression import toy_corpus as corpus


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    teacher = models.load(tiny.checkpoint(folder / "teacher", "bert", layers=3))
    cut = apply(teacher.model, keep_layers(whole(teacher.model), [0, 2]))
    models.save(TorchEncoder(cut, teacher.tokenizer, teacher.sentence, source=teacher.source), folder / "student")
    tiny.checkpoint(folder / "other", "xlm-roberta")
    corpus.write(folder)
    return folder


def test_the_student_gets_closer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    config = DistillRecipe(
        model=str(place / "student"),
        teacher=str(place / "teacher"),
        out=str(place / "better"),
        corpus=CorpusConfig(texts=(str(place / "ru.txt"),), held_out_texts=40, held_out_share=0.2),
        distill=DistillConfig(max_steps=16, batch_tokens=512, precision="fp32", evaluations=2),
    )
    found = run_distill(config)
    lines = [json.loads(line) for line in (place / "better" / "metrics.jsonl").read_text().splitlines()]
    before = next(line["evaluation"] for line in lines if "evaluation" in line)
    assert found.held_out["agreement"] > before["agreement"]
    chosen = found.summary["chosen"]
    assert chosen["start"] == before[chosen["metric"]] and chosen["best"] == found.held_out[chosen["metric"]]
    passport = Passport.read(place / "better")
    assert passport.lineage[-1].command == "distill"
    assert {record.suite for record in passport.records} == {"agreement"}


def test_a_further_teacher_is_heard_and_near_pairs_choose_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    settings = {
        "max_steps": 10,
        "batch_tokens": 512,
        "precision": "fp32",
        "evaluations": 2,
        "teachers": ["hashing_300"],
    }
    config = DistillRecipe(
        model=str(place / "student"),
        teacher=str(place / "teacher"),
        out=str(place / "two-teachers"),
        corpus=CorpusConfig(texts=(str(place / "ru.txt"),), held_out_texts=40, held_out_share=0.2, near_pairs=20),
        distill=DistillConfig.model_validate(settings),
    )
    found = run_distill(config)
    lines = [json.loads(line) for line in (place / "two-teachers" / "metrics.jsonl").read_text().splitlines()]
    evaluations = [line["evaluation"] for line in lines if "evaluation" in line]
    for each in evaluations:
        assert each["choice"] == pytest.approx((each["agreement"] + each["near"]) / 2)
    assert found.held_out["choice"] == max(each["choice"] for each in evaluations)
    assert any(name.endswith(".teacher2") for line in lines for name in line)


def test_upper_layers_alone_learn_and_their_average_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    settings = {"max_steps": 8, "batch_tokens": 512, "evaluations": 2, "upper_layers": 1, "averaging": 0.5}
    corpus = CorpusConfig(texts=(str(place / "ru.txt"),), held_out_texts=40, held_out_share=0.2)
    folder = str(place / "upper")
    config = DistillRecipe(
        model=str(place / "student"), teacher=str(place / "teacher"), out=folder, corpus=corpus,
        distill=DistillConfig.model_validate(settings),
    )  # fmt: skip
    run_distill(config)
    before, after = (dict(models.load(where).model.named_parameters()) for where in (place / "student", folder))
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    layers = {int(name.split("layer.")[1].split(".")[0]) for name in moved}
    assert layers == {max(int(name.split("layer.")[1].split(".")[0]) for name in after if "layer." in name)}


@pytest.mark.parametrize("term", ["pairs", "contrastive"])
def test_terms_of_translations_without_translations_are_refused(place: Path, term: str) -> None:
    terms = DistillationTerms.model_validate({"pairs": 0.0, term: 0.5})
    config = DistillRecipe(
        model=str(place / "student"), teacher=str(place / "teacher"), out=str(place / "untaught"),
        corpus=CorpusConfig(texts=(str(place / "ru.txt"),)), distill=DistillConfig(terms=terms),
    )  # fmt: skip
    with pytest.raises(SlonikError, match=f"distill.terms.{term} is of translations, and the corpus has none"):
        run_distill(config)
    assert not (place / "untaught").exists()


@pytest.mark.parametrize(
    ("teachers", "more", "sentence"),
    [
        (["teacher", "teacher"], {}, "the teacher .*teacher is named twice"),
        (["teacher", "hashing_300", "hashing_300"], {}, "the teacher hashing_300 is named twice"),
        (["teacher", "absent"], {}, "no folder .*absent"),
        (["teacher", "hashing_300"], {"weights": []}, "0 weights for 2 teachers"),
        (["other"], {"output_map": True, "set": {"distill.terms.hidden": 0}}, "an output map begins from the states"),
    ],
)
def test_teachers_that_cannot_teach_together_are_refused_before_any_work(
    place: Path, monkeypatch: pytest.MonkeyPatch, teachers: list[str], more: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setattr("slonik.compression.distill.sampled", None)  # nothing is sampled
    names = [name if name.startswith("hashing") else str(place / name) for name in teachers]
    with pytest.raises(SlonikError, match=sentence):
        distill(place / "student", teacher=names, corpus=place / "ru.txt", out=place / "untaught", **more)
    assert not (place / "untaught").exists()


def test_what_a_compression_cannot_do_is_refused_before_the_corpus_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slonik.compression.compress.sampled", None)
    for more, sentence in (
        ({"trim_vocab": "ru,xx"}, "unknown language or script 'xx'"),
        ({"set": {"distill.teachers": [str(place / "absent")]}}, "no folder .*absent"),
        ({"set": {"distill.teachers": [str(place / "teacher")]}}, "is named twice"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            compress(place / "teacher", corpus=place / "ru.txt", out=place / "uncut", **more)  # type: ignore[arg-type]
    assert not (place / "uncut").exists()


def test_a_student_that_is_its_teacher_has_nothing_to_learn(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    losses = {}
    for dropout in (False, True):
        out = place / f"same-{dropout}"
        settings = {"max_steps": 10, "batch_tokens": 512, "precision": "fp32", "evaluations": 1, "learning_rate": 1e-9}
        config = DistillRecipe(
            model=str(place / "teacher"),
            teacher=str(place / "teacher"),
            out=str(out),
            corpus=CorpusConfig(texts=(str(place / "ru.txt"),), held_out_texts=40, held_out_share=0.2),
            distill=DistillConfig.model_validate(settings | ({"dropout": True} if dropout else {})),
        )
        run_distill(config)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        losses[dropout] = next(line["loss.hidden"] for line in lines if "loss.hidden" in line)
    assert losses[False] < 1e-3 < 0.01 < losses[True]


def test_encoders_and_texts_given_in_python(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    fields = {"distill.max_steps": 2, "distill.precision": "fp32", "distill.evaluations": 1, "corpus.near_pairs": 20}
    made = distill(
        models.load(place / "student"), teacher=[models.load(place / "teacher"), "hashing_300"],
        corpus=[russian for _, russian in corpus.pairs()], out=place / "given",
        set=fields | {"corpus.held_out_texts": 40, "corpus.held_out_share": 0.2},
    )  # fmt: skip
    assert made.checkpoint == place / "given" and made.held_out["choice"] > 0
    step = Passport.read(place / "given").lineage[-1]
    assert step.config["distill"]["teachers"] == ["hashing_300"] and set(step.inputs) == {
        "corpus", "teacher", "model", "teacher hashing_300",
    }  # fmt: skip


def test_the_command_prints_held_out_metrics(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    arguments = ["distill", str(place / "student"), "--teacher", str(place / "teacher"), "--corpus"]
    arguments += [str(place / "ru.txt"), "--out", str(place / "by-command"), "--set", "distill.max_steps=2"]
    arguments += ["--set", "corpus.held_out_texts=40", "--set", "corpus.held_out_share=0.2"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--set", "distill.evaluations=1", "--set", "distill.precision=fp32"])
    assert stopped.value.code in (0, None)
    said = capsys.readouterr()
    assert "agreement" in said.out and f"checkpoint: {place / 'by-command'}" in said.out
    assert "sampling the corpus ..." in said.err and "rm -r" not in said.err


def test_ids_are_matched_by_piece(place: Path) -> None:
    student, teacher = models.load(place / "student"), models.load(place / "teacher")
    assert np.array_equal(matching_ids(student, teacher), np.arange(teacher.tokenizer.get_vocab_size()))
    with pytest.raises(SlonikError, match="not in the vocabulary"):
        matching_ids(models.load(place / "other"), teacher)
