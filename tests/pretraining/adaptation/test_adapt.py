"""Adaptation on tiny checkpoints: measured before and after, settings survive, other vocabularies, bad input."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import adapt as adapt_command
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.core.run import Announce, silent
from slonik.models import load
from slonik.models.language_model import LanguageModel, load_language_model, save_language_model
from slonik.pretraining.adaptation.adapt import Adaptation, adapt, run_adapt
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.text.tokenizers.families import family
from slonik.text.tokenizing import write_tokenizer
from tests import tiny


def _corpora(folder: Path) -> tuple[Path, Path]:
    draw = random.Random(0)
    domain, general = folder / "domain.txt", folder / "general.txt"
    lines = [f"Сервер {draw.choice(tiny.TEXTS)} {draw.choice(tiny.TEXTS)}" for _ in range(200)]
    domain.write_text("\n".join(lines), encoding="utf-8")
    (folder / "domain.ranges.tsv").write_text("source\tfirst_line\tlast_line\nold\t1\t120\nnew\t121\t200\n")
    general.write_text("\n".join(f"{draw.choice(tiny.TEXTS)} Да, {n}." for n in range(200)), encoding="utf-8")
    return domain, general


def _adapt(folder: Path, model: Path, out: str = "out", announce: Announce = silent, **fields: Any) -> Adaptation:
    domain, general = folder / "domain.txt", folder / "general.txt"
    if not domain.exists():
        _corpora(folder)
    values: dict[str, Any] = {
        "model": str(model), "out": str(folder / out), "max_length": 40, "measured_documents": 24,
        "corpus": {"files": [str(domain)], "held_out_share": 0.3},
        "general": {"files": [str(general)], "held_out_share": 0.3},
        "train": {"max_steps": 8, "batch_tokens": 400, "learning_rate": 3e-3, "evaluations": 1, "precision": "fp32"},
    }  # fmt: skip
    return run_adapt(build_config(AdaptConfig, values | fields), announce)


def _values(found: Adaptation, metric: str = "bits_per_byte") -> dict[tuple[str, str], float]:
    return {(r.task, r.variant): float(r.value or 0) for r in found.records if r.metric == metric}


def test_encoder_without_a_head_is_adapted_and_stays_a_sentence_encoder(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert", pooling="cls")
    found = _adapt(tmp_path, model, apart=["old"], head={"compare": True})
    bits = _values(found)
    stages = {"before", "after", "head_not_first"}
    assert {task for task, _ in bits} == {"domain", "domain_rest", "domain_old", "general"}
    assert {stage for _, stage in bits} == stages
    assert bits["domain", "after"] < bits["domain", "before"]
    change = _values(found, "change")
    assert change["domain", "after"] == pytest.approx(bits["domain", "after"] / bits["domain", "before"] - 1)
    assert all(r.low <= r.value <= r.high for r in found.records)
    assert "| domain | after |" in found.table
    encoder = load(found.checkpoint)
    assert encoder.sentence == load(model).sentence
    assert np.isfinite(encoder.encode(tiny.TEXTS)).all()
    passport = Passport.read(found.checkpoint)
    assert passport.lineage[-1].command == "adapt" and len(passport.records) == len(found.records)
    assert load_language_model(found.checkpoint, "mlm").has_head
    curves = list((tmp_path / "out" / "tensorboard").glob("*/events.out.*"))
    assert sorted(path.parent.name for path in curves) == ["body", "head", "together"]
    assert not (tmp_path / "out.steps").exists()


class Crash(Exception):
    """Stands for a power cut."""


def test_same_call_after_a_crash_gives_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.checkpoint(tmp_path / "model", "xlm-roberta")
    first = _adapt(tmp_path, model)

    def crash(language: LanguageModel, folder: Path, **options: Any) -> Path:
        if "body-" in str(folder):
            raise Crash
        return save_language_model(language, folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr("slonik.pretraining.adaptation.stages.save_language_model", crash)
        with pytest.raises(Crash):
            _adapt(tmp_path, model, "again")
    assert not (tmp_path / "again").exists()
    second = _adapt(tmp_path, model, "again")
    hashes = [record.hashes["weights"] for found in (first, second) for record in found.records[:1]]
    assert hashes[0] == hashes[1]


def _interrupted(folder: Path, model: Path, **fields: Any) -> list[str]:
    """What is announced until a call is interrupted before its result."""
    said: list[str] = []

    def stop(*_: Any, **__: Any) -> None:
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slonik.pretraining.adaptation.stages.adapt_records", stop)
        with pytest.raises(Crash):
            _adapt(folder, model, announce=said.append, **fields)
    return said


def _anew(said: list[str]) -> set[str]:
    return {line.split(",")[0].split(" ...")[0] for line in said if " ..." in line}


HEAD, BODY = "training the head", "adapting on the domain (mlm)"


def test_a_second_call_with_something_changed_is_never_done_before(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert")
    _corpora(tmp_path)
    few: dict[str, Any] = {"train": {"max_steps": 2, "batch_tokens": 400, "evaluations": 1, "precision": "fp32"}}
    both = {HEAD, BODY}
    assert _anew(_interrupted(tmp_path, model, **few)) == both | {"measuring before", "measuring after"}
    assert _anew(_interrupted(tmp_path, model, **few)) == set()
    for name in ("domain.txt", "general.txt"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("Да", "Ад").replace("Сервер", "Ревсер"), encoding="utf-8")
    content = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(content | {"hidden_act": "relu"}), encoding="utf-8")
    said = _interrupted(tmp_path, model, **few)
    assert both <= _anew(said)
    for name in ("corpus.domain.txt", "general.general.txt", "model.config.json"):
        assert any(name in line and "changed" in line for line in said)
    assert both <= _anew(_interrupted(tmp_path, model, **few, max_length=32))
    assert _anew(_interrupted(tmp_path, model, **few)) == set()


def test_a_model_and_texts_given_in_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    domain, _ = _corpora(tmp_path)
    texts = domain.read_text(encoding="utf-8").splitlines()
    encoder = load(tiny.checkpoint(tmp_path / "model", "bert"))
    fields = {"train.precision": "fp32", "train.batch_tokens": 400, "max_length": 40, "corpus.held_out_share": 0.3}
    made = adapt(encoder, corpus=texts, out=tmp_path / "out", steps=2, set=fields)
    assert made.checkpoint == tmp_path / "out" and {record.task for record in made.records} == {"domain"}
    step = Passport.read(tmp_path / "out").lineage[-1]
    assert step.config["corpus"]["files"] == ["200 texts given in Python"]
    assert step.config["model"].endswith("given in Python") and step.config["objective"] == "mlm"
    assert "adapting" not in capfd.readouterr().err


def test_decoder_is_adapted_by_its_next_word(tmp_path: Path) -> None:
    found = _adapt(tmp_path, tiny.checkpoint(tmp_path / "model", "gpt2"), objective="clm")
    bits = _values(found)
    assert bits["domain", "after"] < bits["domain", "before"]
    assert load_language_model(found.checkpoint, "clm").has_head


def test_without_a_general_corpus_the_head_learns_on_the_domain(tmp_path: Path) -> None:
    found = _adapt(tmp_path, tiny.checkpoint(tmp_path / "model", "modernbert"), general=None)
    assert {task for task, _ in _values(found)} == {"domain"}


def test_new_words_become_pieces(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert")
    found = _adapt(tmp_path, model, vocabulary={"new_words": 4, "min_frequency": 5})
    before, after = load(model).tokenizer, load(found.checkpoint).tokenizer
    added = sorted(set(after.get_vocab()) - set(before.get_vocab()))
    assert 1 <= len(added) <= 4 and all(len(before.encode(word).ids) > 3 for word in added)
    assert load(found.checkpoint).model.config.vocab_size == after.get_vocab_size()


def test_a_new_tokenizer_replaces_the_old_one(tmp_path: Path) -> None:
    write_tokenizer(tiny.tokenizer("wordpiece", 300), tmp_path / "new", names=family("bert").roles, types=True)
    found = _adapt(
        tmp_path, tiny.checkpoint(tmp_path / "model", "deberta-v2"), vocabulary={"tokenizer": str(tmp_path / "new")}
    )
    adapted = load(found.checkpoint)
    assert adapted.tokenizer.to_str() == tiny.tokenizer("wordpiece", 300).to_str()
    assert adapted.model.config.pad_token_id == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"max_length": 100}, "longer than the 64 positions"),
        ({"objective": "clm"}, "is an encoder .bert.: adapt it with --objective mlm"),
        ({"corpus": {"files": ["none.txt"]}}, "corpus not found"),
        ({"corpus": {"files": []}}, "at least one corpus file"),
        ({"vocabulary": {"new_words": 2, "min_frequency": 10**6}}, "no word that occurs"),
        ({"vocabulary": {"new_words": 2, "tokenizer": "x"}}, "cannot be combined"),
        ({"train": {"stepz": 1}}, "stepz"),
        ({"format": 2}, "this slonik reads recipes of format 1"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_no_checkpoint(
    tmp_path: Path, fields: dict[str, Any], sentence: str
) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert")
    with pytest.raises(SlonikError, match=sentence):
        _adapt(tmp_path, model, **fields)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_a_mask_token_is_named(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert")
    file = model / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("[MASK]", "[HOLE]"), encoding="utf-8")
    (model / "tokenizer_config.json").write_text("{}")
    with pytest.raises(SlonikError, match="no mask token"):
        _adapt(tmp_path, model)


def test_out_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(SlonikError, match="is there already"):
        _adapt(tmp_path, tiny.checkpoint(tmp_path / "model", "bert"))


def test_command_writes_records_and_shows_the_table(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert")
    domain, general = _corpora(tmp_path)
    app = typer.Typer()
    app.callback()(lambda: None)
    adapt_command.register(app)
    arguments = ["adapt", str(model), "--corpus", str(domain), "--general", str(general), "--objective", "mlm"]
    arguments += ["--out", str(tmp_path / "out"), "--steps", "2", "--json", str(tmp_path / "r.json")]
    arguments += ["--set", "max_length=32", "--set", "train.batch_tokens=256", "--set", "corpus.held_out_share=0.3"]
    arguments += ["--set", "general.held_out_share=0.3"]
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert shown.exit_code == 0 and "bits per byte" in shown.stdout
    records = read_records(tmp_path / "r.json")
    assert {record.suite for record in records} == {"adapt"}
    assert json.loads((tmp_path / "r.json").read_text())[0]["model"] == "out"


def test_what_cannot_be_done_is_refused_before_any_work_and_nothing_is_left(tmp_path: Path) -> None:
    model = tiny.checkpoint(tmp_path / "model", "bert")
    domain, general = _corpora(tmp_path)
    one = tmp_path / "one.txt"
    one.write_text("\n".join(general.read_text(encoding="utf-8").splitlines()[:60]), encoding="utf-8")
    files = {"files": [str(domain)]}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"apart": ["odl"]}, r"unknown source of held-out documents \(--apart\) 'odl'; did you mean 'old'"),
        (
            {"corpus": {**files, "held_out_share": 0.0}},
            "leaves 0 held-out documents, at least 4 .*corpus.held_out_share",
        ),
        (
            {"general": {"files": [str(one)], "held_out_share": 0.0}},
            "the general corpus leaves 0 held-out documents, at least 1 .*general.held_out_share",
        ),
        ({"corpus": {**files, "column": "body"}}, "has no columns"),
        ({"lora": {"rank": 2000}}, "rank 2000 would be larger than the weight of .*is at most 32"),
        # What the model cannot do is said before what the corpus lacks.
        ({"every": 9, "corpus": {**files, "held_out_share": 0.0}}, "every is 9, and .* has 2 layers"),
        ({"lora": {"rank": 33}, "every": 2, "corpus": {**files, "held_out_share": 0.0}}, "rank 33 would be larger"),
    ]
    for fields, sentence in cases:
        said: list[str] = []
        with pytest.raises(SlonikError, match=sentence):
            _adapt(tmp_path, model, announce=said.append, **fields)
        assert said == [] and not (tmp_path / "out").exists() and not (tmp_path / "out.steps").exists()
