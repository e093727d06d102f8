"""Compression, trimming and distillation of models with a head: the same kind of folder comes out, and it answers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from slonik.compression import compress as pipeline
from slonik.compression.compress import compress
from slonik.compression.distill import distill
from slonik.compression.headed import HeadedEncoder, open_headed
from slonik.compression.task_training import outputs_of
from slonik.compression.trim import TrimCheckpointConfig, trim_checkpoint
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.models.loading import load
from slonik.models.task_model import load_task_model, save_task_model
from slonik.text.pipeline import Dense, Normalize, Pooling
from slonik.text.sentence_config import SentenceConfig
from tests import tiny
from tests.compression import toy_corpus
from tests.compression.heads import batch, outputs, task_model

SIZES = {"held_out_texts": 30, "held_out_share": 0.2, "near_pairs": 20, "train_texts": 120}
DISTILL = {"max_steps": 8, "batch_tokens": 512, "precision": "fp32", "evaluations": 2}
RECIPE: dict[str, Any] = {"corpus": SIZES, "distill": DISTILL, "speed_texts": 2, "prune": {"texts": 16, "steps": 2}}
TEXTS = [text for _, text in toy_corpus.pairs()[:6]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    toy_corpus.write(folder)
    for kind, family in (
        ("sequence", "bert"), ("stock sequence", "bert"), ("stock tags", "xlm-roberta"), ("stock answer", "bert"),
        ("pair", "bert"), ("tags of all layers", "bert"), ("choice", "bert"), ("stock number", "bert"),
    ):  # fmt: skip
        save_task_model(task_model(kind, family), folder / kind)
    tiny.checkpoint(folder / "words", "bert", sentence=False)
    shape = tiny.config("bert", layers=3, vocab_size=tiny.tokenizer("wordpiece").get_vocab_size())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        AutoModelForMaskedLM.from_config(shape).save_pretrained(folder / "words")
    rows = [{"premise": one, "hypothesis": other} for one, other in itertools.pairwise(TEXTS)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    monkeypatch.delenv("SLONIK_DATA", raising=False)


def made(place: Path, model: Any, out: str, **options: Any) -> pipeline.Compression:
    settings = {"corpus": place / "ru.txt", "evaluate": False, "recipe": RECIPE, **options}
    return compress(model, out=place / out, **settings)


@pytest.mark.parametrize(
    ("kind", "auto", "options"),
    [
        ("sequence", None, {"layers": 2}),
        ("stock sequence", AutoModelForSequenceClassification, {"layers": 2, "ffn": 0.5}),
        ("stock tags", AutoModelForTokenClassification, {"layers": 2}),
        ("stock answer", AutoModelForQuestionAnswering, {"heads": 0.5}),
        ("tags of all layers", None, {"layers": 1, "hidden": 0.5}),
    ],
)
def test_a_task_model_comes_out_with_its_head(place: Path, kind: str, auto: Any, options: dict[str, Any]) -> None:
    found = made(place, place / kind, f"small {kind}", **options)
    before, after = load_task_model(place / kind, device="cpu"), load_task_model(found.checkpoint, device="cpu")
    assert after.config.target == before.config.target and after.labels == before.labels
    assert after.describe()["parameters"] < before.describe()["parameters"]
    assert found.summary["distill"]["held_out"]["labels"] > 0
    agreed = [r for r in read_records(found.checkpoint / "records.json") if r.suite == "agreement"]
    assert {"labels"} <= {r.metric for r in agreed} and all(r.low is not None for r in agreed)
    step = Passport.read(found.checkpoint).lineage[-1]
    assert step.command == "compress" and "its head was cut along" in (found.checkpoint / "report.html").read_text()
    if auto is None:
        return
    stock = auto.from_pretrained(found.checkpoint, trust_remote_code=True).eval()
    fields = batch(after)
    with torch.inference_mode():
        theirs = stock(**{name: fields[name] for name in ("input_ids", "attention_mask")} | _types(after, fields))
    if kind == "stock sequence":
        torch.testing.assert_close(theirs.logits, outputs(after, fields), atol=1e-5, rtol=1e-5)
        assert list(stock.config.id2label.values()) == list(before.labels)
    if kind == "stock answer":
        first, ours = theirs.start_logits, outputs(after, fields)[:, 0]
        shown = ours > -1e3
        torch.testing.assert_close(first[shown], ours[shown], atol=1e-5, rtol=1e-5)


def _types(model: Any, fields: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    takes = model.transformer.config.type_vocab_size > 1
    return {"token_type_ids": fields["token_type_ids"]} if takes and "token_type_ids" in fields else {}


def test_distillation_brings_the_answers_closer(place: Path) -> None:
    from slonik.train.run_log import read_metrics

    longer = {**RECIPE, "distill": {**DISTILL, "max_steps": 60}}
    found = made(place, place / "stock sequence", "taught", layers=2, recipe=longer)
    lines = [line["evaluation"] for line in read_metrics(found.checkpoint / "metrics.jsonl") if "evaluation" in line]
    assert found.summary["distill"]["held_out"]["divergence"] < lines[0]["divergence"] / 2


def test_a_loaded_task_model_and_a_killed_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_task_model(place / "sequence", device="cpu")
    whole = made(place, model, "given", layers=2)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_measured", stop)
    with pytest.raises(KeyboardInterrupt):
        made(place, place / "sequence", "killed", layers=2)
    monkeypatch.undo()
    monkeypatch.setenv("SLONIK_CACHE", str(place / "cache"))
    lines: list[str] = []
    again = made(place, place / "sequence", "killed", layers=2, announce=lines.append)
    assert sum("done before" in line for line in lines) == 4
    first, second = (load_task_model(one.checkpoint, device="cpu") for one in (whole, again))
    assert torch.equal(outputs(first), outputs(second))


def test_a_pair_classifier_is_taught_on_made_pairs_and_on_rows(place: Path) -> None:
    config = load_task_model(place / "pair", device="cpu").config
    content = config.model_dump(mode="json") | {"columns": {"text": ["premise", "hypothesis"], "label": "label"}}
    (place / "pair" / "task.json").write_text(json.dumps(content), encoding="utf-8")
    said: list[str] = []
    found = made(place, place / "pair", "pairs", layers=2, examples=place / "rows.jsonl", announce=said.append)
    assert any("pairs made of texts of the corpus, and" in line and "rows.jsonl" in line for line in said)
    assert load_task_model(found.checkpoint, device="cpu").labels == config.labels
    assert "--examples" in " ".join(found.facts.commands)


def test_trimming_keeps_every_head(place: Path) -> None:
    for kind in ("sequence", "stock tags", "choice", "stock number"):
        out = place / f"trimmed {kind}"
        trim_checkpoint(TrimCheckpointConfig(model=str(place / kind), corpus=(str(place / "ru.txt"),), out=str(out)))
        before, after = load_task_model(place / kind, device="cpu"), load_task_model(out, device="cpu")
        assert after.describe()["pieces"] < before.describe()["pieces"]
        from slonik.compression.task_texts import TaskFields
        from slonik.text.pairs import TaskInput

        given = [TaskInput(((one,),)) for one in TEXTS]
        if kind == "choice":
            given = [TaskInput(((one, other), (other, one))) for one, other in itertools.pairwise(TEXTS)]
        pairs = zip(*(outputs_of(model, TaskFields(model)(given)) for model in (before, after)), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_masked_language_model_keeps_its_head(place: Path) -> None:
    texts = place / "ru.txt"
    trim_checkpoint(TrimCheckpointConfig(model=str(place / "words"), corpus=(str(texts),), out=str(place / "few")))
    before, after = open_headed(place / "words", device="cpu"), open_headed(place / "few", device="cpu")
    assert before.words is not None and after.words is not None
    known = before.encoder.tokenizer.get_vocab()
    order = [known[token] for token, _ in sorted(after.encoder.tokenizer.get_vocab().items(), key=lambda item: item[1])]
    rows = after.encoder.tokenize(TEXTS[:1])
    ids = torch.tensor(rows)
    with torch.inference_mode():
        theirs = before.words.model(torch.tensor(order)[ids]).logits[..., order]
        torch.testing.assert_close(after.words.model(ids).logits, theirs, atol=1e-5, rtol=1e-5)
    small = made(place, place / "words", "small words", layers=2)
    loaded = AutoModelForMaskedLM.from_pretrained(small.checkpoint)
    assert type(loaded).__name__ == "BertForMaskedLM" and "not taught" in (small.checkpoint / "report.html").read_text()
    student = open_headed(small.checkpoint, device="cpu")
    assert student.words is not None and student.words.has_head


def test_a_student_gets_the_head_of_its_teacher(place: Path) -> None:
    teacher = open_headed(place / "stock sequence", device="cpu")
    assert teacher.task is not None
    bare = place / "bare"
    save = HeadedEncoder(teacher.encoder)
    save.save(bare)
    short = {"corpus": SIZES, "distill": DISTILL}
    found = distill(bare, teacher=place / "stock sequence", corpus=place / "ru.txt", out=place / "with", recipe=short)
    student = load_task_model(found.checkpoint, device="cpu")
    assert student.labels == teacher.task.labels and found.held_out["labels"] == 1
    assert {record.metric for record in found.records} == {"labels"}
    for model, other, words in (
        (place / "sequence", bare, "would not be taught"),
        (place / "pair", place / "sequence", "they must answer the same"),
        (place / "words", place / "sequence", "would lose its head"),
    ):
        with pytest.raises(SlonikError, match=words):
            distill(model, teacher=other, corpus=place / "ru.txt", out=place / "x", recipe=short)


def test_modules_behind_an_encoder_are_cut_and_trained(place: Path) -> None:
    bare = open_headed(place / "sequence", device="cpu").encoder
    weight = torch.randn(24, 64, generator=torch.Generator().manual_seed(0)).numpy() * 0.2
    modules = (Pooling(("cls", "mean")), Dense(weight, np.zeros(24, np.float32)), Normalize())
    bare.sentence = SentenceConfig(modules, max_length=48)
    found = made(place, bare, "dense", layers=2, hidden=0.5, ffn=0.5)
    student = load(found.checkpoint, device="cpu")
    assert student.hidden_size == 16 and student.encode(TEXTS).shape == (6, 24)
    dense = student.sentence.modules[1]
    assert isinstance(dense, Dense) and dense.weight.shape == (24, 32)
    kept = [*student_columns(found.checkpoint)]
    assert not np.allclose(dense.weight, weight[:, [*kept, *(index + 32 for index in kept)]])
    assert found.summary["distill"]["held_out"]["agreement"] > -1


def student_columns(folder: Path) -> list[int]:
    return list(json.loads((folder / "plan.json").read_text())["hidden"])


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("gpt2", {}, "only encoders can be cut"),
        ("t5", {}, "only encoders can be cut"),
        ("next", {}, "BertForNextSentencePrediction"),
        ("words", {"examples": "rows.jsonl"}, "corpus.examples is for models with a head"),
        ("words", {"set": ["distill.terms.outputs=2"]}, "distill.terms.outputs is for models with a head"),
        ("words", {"set": ["prune.loss=outputs"]}, "is for classifiers that read one text"),
        ("sequence", {"set": ["distill.teachers=[words]"]}, "one teacher"),
        ("sequence", {"pooling": "cls"}, "decides what it reads"),
        ("choice", {"examples": "rows.jsonl"}, "not read as examples"),
        ("sequence", {"examples": "rows.jsonl"}, "text"),
    ],
)
def test_what_cannot_be_carried_is_refused_before_any_work(
    place: Path, model: str, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    if model in ("gpt2", "t5") and not (place / model).exists():
        tiny.checkpoint(place / model, model, sentence=False)
        if model == "gpt2":
            config = json.loads((place / model / "config.json").read_text())
            (place / model / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}))
    if model == "next":
        tiny.checkpoint(place / model, "bert", sentence=False)
        config = json.loads((place / model / "config.json").read_text())
        config["architectures"] = ["BertForNextSentencePrediction"]
        (place / model / "config.json").write_text(json.dumps(config))
    said: list[str] = []
    with pytest.raises(SlonikError, match=words):
        made(place, place / model, "refused", layers=1, announce=said.append, **options)
    assert not (place / "refused").exists() and not any("sampling" in line for line in said)
