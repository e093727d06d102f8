"""Pretraining recipes: every family end to end, going on after a crash, refusals before any work, published sizes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer

import slonik
from slonik.core.config import read_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.models.generation import load_generator
from slonik.pretraining.bits_per_byte import HeldOutBits
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.costs import run_costs
from slonik.pretraining.denoising import DenoiserMixture
from slonik.pretraining.objectives import MaskedLanguageModel
from slonik.pretraining.pretrain import pretrain, pretrain_config, run_pretrain
from slonik.pretraining.tokenizer import wanted_sentinels
from slonik.text.tokenizers.training import TrainConfig, Trained, train
from slonik.text.tokenizing import write_tokenizer
from slonik.train.run_log import read_metrics
from tests.compression import toy_corpus

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "pretrain"
FAMILIES = ("bert", "roberta", "deberta", "modernbert", "gpt2", "t5", "fred_t5", "ltg_bert")
_SMALL: dict[str, Any] = {
    "tokenizer.vocab_size": 400, "model.hidden": 32, "length": 48, "batch_tokens": 480, "train.max_steps": 6,
    "train.evaluate_every_steps": 3, "train.log_every_steps": 1, "corpus.held_out_share": 0.1, "corpus.border": 3,
    "held_out.new_tokens": 3, "train.save_every_minutes": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320 sentences in a mixed order: three in a row are a document of its own."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("corpus") / "ru.txt"
    lines = [russian for _, russian in toy_corpus.pairs()]
    random.Random(0).shuffle(lines)
    path.write_text("".join(f"{line.capitalize()}.\n" for line in lines), encoding="utf-8")
    return path


def _recipe(name: str, texts: Path, out: Path, **fields: Any) -> PretrainConfig:
    values = {"corpus.files": [str(texts)], "out": str(out), **_SMALL, **fields}
    return read_config(PretrainConfig, RECIPES / f"{name}.yaml", values)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_from_a_text_file_to_a_checkpoint(family: str, texts: Path, tmp_path: Path) -> None:
    config = _recipe(f"{family}_tiny", texts, tmp_path / "model")
    found = run_pretrain(config)
    lines = read_metrics(found.checkpoint / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 7))
    assert 0 < steps[-1]["flops_utilisation"] < 1.5 and steps[-1]["memory_gib"] > 0
    bits = [line["evaluation"]["bits_per_byte"] for line in lines if "evaluation" in line]
    assert len(bits) == 3 and bits[-1] < bits[0]
    record = found.records[0]
    # The checkpoint holds the weights of the best evaluation, and is measured on other documents than chose it.
    assert record.metric == "bits_per_byte" and record.value == pytest.approx(min(bits), rel=0.1)
    assert record.value != min(bits)
    assert record.detail["bytes"] > 500 and record.detail["spelled"] >= 0
    assert all(
        line["evaluation"]["bits_per_byte_low"] <= line["evaluation"]["bits_per_byte"]
        for line in lines
        if "evaluation" in line
    )
    assert record.low is not None and record.high is not None and record.low < record.value < record.high
    passport = Passport.read(found.checkpoint)
    assert passport.lineage[-1].command == "pretrain" and passport.records == found.records
    assert AutoTokenizer.from_pretrained(found.checkpoint)("Слон видит дом.").input_ids
    assert list((tmp_path / "model").rglob("tensorboard/events.out.*")) and not (tmp_path / "model.steps").exists()
    if family in ("gpt2", "t5", "fred_t5"):
        assert len(load_generator(found.checkpoint).complete(["Слон"])) == 1
        pieces = len(AutoTokenizer.from_pretrained(found.checkpoint))
        assert AutoConfig.from_pretrained(found.checkpoint).vocab_size == pieces
    else:
        assert slonik.load(found.checkpoint).encode(["Слон видит дом."]).shape == (1, 32)
    if family == "gpt2":
        assert [len(line["samples"]) for line in lines if "samples" in line] == [2, 2, 2]


def test_batches_are_warmed_up_by_stages_of_smaller_ones(texts: Path, tmp_path: Path) -> None:
    stages = [{"length": 48, "share": 0.25, "batch_tokens": 96}, {"length": 48, "share": 0.25, "batch_tokens": 240}]
    fields = {"stages": stages, "train.max_steps": 4, "train.evaluate_every_steps": 4}
    made = run_pretrain(_recipe("roberta_tiny", texts, tmp_path / "model", **fields))
    lines = [line for line in read_metrics(made.checkpoint / "metrics.jsonl") if "loss" in line]
    tokens = [line["tokens"] for line in lines]
    assert tokens[0] <= 96 < tokens[1] <= 240 < max(tokens[2:]), tokens


@pytest.mark.parametrize("family", ["roberta", "t5"])
def test_short_sequences_come_before_long_ones(family: str, texts: Path, tmp_path: Path) -> None:
    stages = [{"length": 16, "share": 0.4}, {"length": 24, "share": 0.3, "batch_tokens": 240}]
    config = _recipe(f"{family}_tiny", texts, tmp_path / "model", stages=stages, **{"train.max_steps": 10})
    assert [(phase.length, phase.batch_tokens, steps) for phase, steps in config.phases] == [
        (16, 480, 4), (24, 240, 3), (48, 480, 3)
    ]  # fmt: skip
    widths: list[int] = []
    loss_of = MaskedLanguageModel.loss if family == "roberta" else DenoiserMixture.loss

    def seen(self: Any, model: Any, batch: Any) -> Any:
        widths.append(batch["input_ids"].shape[1])
        return loss_of(self, model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskedLanguageModel if family == "roberta" else DenoiserMixture, "loss", seen)
        said: list[str] = []
        run_pretrain(config, said.append)
    assert max(widths[:4]) <= 16 < min(widths[4:7]) and max(widths[4:7]) <= 24 < min(widths[7:])
    assert [line.rsplit(" ", 1)[-1] for line in said if "sequences of at most" in line] == ["16", "24", "48"]
    costs, plain = run_costs(config), run_costs(config.model_copy(update={"stages": ()}))
    assert costs.total_flops < plain.total_flops == plain.flops_per_step * 10
    assert costs.total_tokens == 4 * 480 + 3 * 240 + 3 * 480


class Crash(Exception):
    """Stands for a power cut."""


def test_the_same_call_after_a_crash_goes_on_to_the_same_checkpoint(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    whole = run_pretrain(_recipe("bert_tiny", texts, tmp_path / "whole"), said.append)
    assert any("times to be merged" in line for line in said)
    calls = iter(range(1, 100))
    measure = HeldOutBits.measure

    def crashing(self: HeldOutBits, *arguments: Any) -> Any:
        if next(calls) == 2:
            raise Crash
        return measure(self, *arguments)

    config = _recipe("bert_tiny", texts, tmp_path / "crashed")
    with monkeypatch.context() as patch:
        patch.setattr(HeldOutBits, "measure", crashing)
        with pytest.raises(Crash):
            run_pretrain(config)
    assert not (tmp_path / "crashed").exists()
    found = run_pretrain(config)
    first, second = (load_file(run.checkpoint / "model.safetensors") for run in (whole, found))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    again = run_pretrain(config)
    assert again.records == found.records


def test_a_finished_run_is_made_longer_and_its_best_model_loads_while_it_goes_on(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_pretrain(_recipe("roberta_tiny", texts, tmp_path / "first", **{"train.max_steps": 4})).checkpoint
    fields = {"start": str(first), "snapshots": True, "train.learning_rate": 1e-4}
    other = _recipe("roberta_tiny", texts, tmp_path / "other", start=str(first), **{"model.layers": 1})
    with pytest.raises(
        SlonikError, match="is no beginning for this recipe's roberta: it has another num_hidden_layers"
    ):
        run_pretrain(other)
    measure, calls = HeldOutBits.measure, iter(range(1, 100))

    def crashing(self: HeldOutBits, *arguments: Any) -> Any:
        if next(calls) == 3:
            raise Crash
        return measure(self, *arguments)

    config = _recipe("roberta_tiny", texts, tmp_path / "second", **fields)
    with monkeypatch.context() as patch:
        patch.setattr(HeldOutBits, "measure", crashing)
        with pytest.raises(Crash):
            run_pretrain(config)
    best = tmp_path / "second.steps" / "best"
    assert slonik.load(best).encode(["Слон видит дом."]).shape == (1, 32)
    assert Passport.read(best).lineage[-1].summary["steps"] == 3
    second = run_pretrain(config).checkpoint
    before, after = (read_metrics(folder / "metrics.jsonl") for folder in (first, second))
    evaluated = [
        [line["evaluation"]["bits_per_byte"] for line in lines if "evaluation" in line] for lines in (before, after)
    ]
    assert evaluated[1][0] == pytest.approx(min(evaluated[0]), rel=1e-6) and evaluated[1][-1] < evaluated[1][0]
    assert [step.command for step in Passport.read(second).lineage] == ["pretrain", "pretrain"]
    tokenizers = [(folder / "tokenizer.json").read_bytes() for folder in (first, second)]
    assert tokenizers[0] == tokenizers[1] and not best.exists()


def test_a_staged_run_that_dies_on_its_way_ends_with_the_weights_of_an_undisturbed_one(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {
        "stages": [{"length": 16, "share": 0.4}, {"length": 24, "share": 0.3, "batch_tokens": 240}],
        "train.max_steps": 10, "train.schedule": "wsd", "train.decay_ratio": 0.5, "train.save_every_minutes": 0.0,
    }  # fmt: skip
    whole = run_pretrain(_recipe("roberta_tiny", texts, tmp_path / "whole", **fields)).checkpoint
    left, loss_of = [6], MaskedLanguageModel.loss  # the second stage begins with step 5, the fall of the rate too

    def dying(self: Any, model: Any, batch: Any) -> Any:
        if model.training:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
        return loss_of(self, model, batch)

    config = _recipe("roberta_tiny", texts, tmp_path / "killed", **fields)
    with monkeypatch.context() as patch:
        patch.setattr(MaskedLanguageModel, "loss", dying)
        with pytest.raises(Crash):
            run_pretrain(config)
        left[0] = 5  # at least the five steps that were saved are not made again
        again = run_pretrain(config).checkpoint
    assert whole is not None and again is not None
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    steps = [line["step"] for line in read_metrics(again / "metrics.jsonl") if "loss" in line]
    assert steps == sorted(set(steps)) and steps[-1] == 10


def test_batches_grow_and_the_model_of_every_evaluation_is_kept(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"snapshots": "all", "batch_warmup": {"first_tokens": 96, "share": 0.67, "rises": 2}}
    config = _recipe("gpt2_tiny", texts, tmp_path / "model", **fields, **{"model.layers": 1})
    assert [(phase.batch_tokens, steps) for phase, steps in config.phases] == [(96, 2), (288, 2), (480, 2)]
    stale = tmp_path / "model.steps" / "snapshots" / "step-99"  # of a training that was given up
    with pytest.raises(Crash), monkeypatch.context() as patch:
        patch.setattr("slonik.pretraining.pretrain.prepare_corpus", _crash)
        run_pretrain(config)
    stale.mkdir(parents=True)
    made = run_pretrain(config).checkpoint
    assert made is not None
    tokens = [line["tokens"] for line in read_metrics(made / "metrics.jsonl") if "loss" in line]
    assert max(tokens[:2]) <= 96 < min(tokens[2:4]) and max(tokens[2:4]) <= 288 < min(tokens[4:])
    assert sorted(path.name for path in (made / "snapshots").iterdir()) == ["step-0", "step-3", "step-6"]
    weights = [load_file(made / "snapshots" / f"step-{step}" / "model.safetensors") for step in (0, 3)]
    assert weights[0].keys() == weights[1].keys() and any(
        not torch.equal(weights[0][k], weights[1][k]) for k in weights[0]
    )
    early = made / "snapshots" / "step-3"
    assert Passport.read(early).lineage[-1].summary["steps"] == 3
    assert load_generator(str(early)).complete(["Слон"])[0]
    longer = pretrain_config(RECIPES / "gpt2_tiny.yaml", start=early, out=tmp_path / "longer")
    assert longer.start == str(early)


def _crash(*_: Any, **__: Any) -> None:
    raise Crash


def test_only_the_very_same_call_finds_its_result(texts: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(texts.read_bytes())
    out, few = tmp_path / "model", {"train.max_steps": 2}
    made = run_pretrain(_recipe("bert_tiny", corpus, out, **few))
    said: list[str] = []
    again = run_pretrain(_recipe("bert_tiny", corpus, out, **few, **{"train.save_every_minutes": 9.0}), said.append)
    assert again.records == made.records and any("nothing to do" in line for line in said)
    with pytest.raises(SlonikError, match=r"made from other inputs \(recipe.train.max_steps \(2 -> 3\) changed\)"):
        run_pretrain(_recipe("bert_tiny", corpus, out, **{"train.max_steps": 3}))
    with pytest.raises(SlonikError, match=r"made from other inputs \(recipe.train.learning_rate .* changed\)"):
        run_pretrain(_recipe("bert_tiny", corpus, out, **few, **{"train.learning_rate": 0.5}))
    text = corpus.read_text(encoding="utf-8")
    corpus.write_text(text.replace("дом", "мод"), encoding="utf-8")  # the same size under the same name
    with pytest.raises(SlonikError, match=r"made from other inputs \(corpus.corpus.txt changed\)"):
        run_pretrain(_recipe("bert_tiny", corpus, out, **few))
    (out / "run.json").unlink()
    with pytest.raises(SlonikError, match="does not say from what it was made"):
        run_pretrain(_recipe("bert_tiny", corpus, out, **few))
    assert Passport.read(out).records == made.records


def test_another_tokenizer_is_another_run(texts: Path, tmp_path: Path) -> None:
    first = run_pretrain(_recipe("bert_tiny", texts, tmp_path / "first", **{"train.max_steps": 1})).checkpoint
    assert first is not None
    fields = {"train.max_steps": 1, "tokenizer.given": str(first)}
    run_pretrain(_recipe("bert_tiny", texts, tmp_path / "model", **fields))
    content = json.loads((first / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"] = {"type": "Lowercase"}
    (first / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SlonikError, match=r"made from other inputs \(tokenizer.* changed\)"):
        run_pretrain(_recipe("bert_tiny", texts, tmp_path / "model", **fields))


def test_texts_and_a_recipe_given_in_python(texts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe = _recipe("bert_tiny", texts, tmp_path / "x", **{"train.max_steps": 1}).model_dump(mode="json")
    lines = texts.read_text(encoding="utf-8").splitlines()
    documents = ["\n".join(lines[start : start + 3]) for start in range(0, len(lines), 3)]
    made = pretrain(recipe | {"corpus": recipe["corpus"] | {"files": []}}, corpus=documents, out=tmp_path / "model")
    assert made.checkpoint == tmp_path / "model" and made.records[0].metric == "bits_per_byte"
    assert Passport.read(tmp_path / "model").lineage[-1].config["corpus"]["files"] == ["107 texts given in Python"]
    assert "training" not in capfd.readouterr().err


def test_a_finished_checkpoint_is_not_overwritten(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SlonikError, match="does not say from what it was made"):
        run_pretrain(_recipe("bert_tiny", texts, tmp_path / "model"))
    assert (tmp_path / "model" / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("bert_tiny", {"version": 2}, "this slonik reads recipes of version 1"),
        ("bert_tiny", {"length": 999}, "sequences of 999 tokens are longer than the model's max_length of 128"),
        ("bert_tiny", {"batch_tokens": 47}, "batches of 47 tokens have no room for a sequence of 48"),
        ("bert_tiny", {"objective": "clm"}, "a bert is trained with objective mlm or nsp, not clm"),
        ("bert_tiny", {"format": "blocks"}, "objective nsp does not go with format blocks"),
        ("gpt2_tiny", {"train.optimiser": "lamb"}, "optimizer"),
        ("t5_tiny", {"denoisers": []}, "denoisers need at least one with a weight above 0"),
        ("t5_tiny", {"denoisers": [{"weight": 0}]}, "denoisers need at least one with a weight above 0"),
        ("bert_tiny", {"stages": [{"length": 64, "share": 0.5}]}, "a stage of 64 tokens is not shorter than length"),
        ("bert_tiny", {"stages": [{"length": 48, "share": 0.5}]}, "in batches of 480 is what follows it"),
        ("bert_tiny", {"stages": [{"length": 16, "share": 0.5}] * 2}, "leave no step for sequences of 48 tokens"),
        (
            "bert_tiny",
            {"batch_warmup": {"first_tokens": 40, "share": 0.5}},
            "first_tokens is 40: it has to be a sequence",
        ),
        ("bert_tiny", {"batch_warmup": {"first_tokens": 480, "share": 0.5}}, "below batch_tokens .480"),
        ("bert_tiny", {"batch_warmup": {"first_tokens": 96, "share": 0.5}}, "of 6 steps is less than a step for each"),
        ("gpt2_tiny", {"train.sharding": "full", "train.optimizer": "muon"}, "sharding full goes with optimizer adamw"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    name: str, fields: dict[str, Any], sentence: str, texts: Path, tmp_path: Path
) -> None:
    with pytest.raises(SlonikError, match=sentence):
        _recipe(name, texts, tmp_path, **fields)


def test_bad_corpora_and_tokenizers_end_in_a_sentence_before_training(texts: Path, tmp_path: Path) -> None:
    english, short, empty = tmp_path / "en.txt", tmp_path / "short.txt", tmp_path / "empty.txt"
    late = tmp_path / "late.txt"
    late.write_bytes(texts.read_bytes() + "Слон по-старому.\n".encode("cp1251"))
    english.write_text("The elephant walks through the forest.\n" * 40, encoding="utf-8")
    short.write_text("".join(f"Слон номер {number}.\n" for number in range(30)), encoding="utf-8")
    empty.write_text("", encoding="utf-8")
    cases: list[tuple[str, Path, dict[str, Any], str]] = [
        ("roberta_tiny", empty, {}, "empty"),
        ("roberta_tiny", english, {}, "another language"),
        ("roberta_tiny", late, {}, "late.txt, line 321: not UTF-8"),
        ("roberta_tiny", tmp_path / "missing.txt", {}, "missing.txt"),
        ("bert_tiny", short, {"corpus.border": 100, "corpus.held_out_share": 0.0}, "held-out|too short"),
        ("t5_tiny", texts, {"tokenizer.sentinels": 2, "length": 100}, "spans .* need as many sentinels"),
    ]
    before_work = ("late.txt", "as many sentinels")
    for name, path, fields, sentence in cases:
        config = _recipe(name, path, tmp_path / "out", **fields)
        said: list[str] = []
        with pytest.raises(SlonikError, match=sentence):
            run_pretrain(config, said.append)
        assert not (tmp_path / "out").exists()
        worked = any(" ..." in line or "training" in line for line in said)
        assert not (worked and any(part in sentence for part in before_work))
    with pytest.raises(SlonikError, match="no corpus given"):
        run_pretrain(_recipe("bert_tiny", texts, tmp_path / "out", **{"corpus.files": []}))


def test_what_is_too_short_or_of_another_script_is_refused_before_any_work(texts: Path, tmp_path: Path) -> None:
    russian = [f"Слон номер {number} идёт по лесу и поёт." for number in range(400)]
    few, lines, mine = tmp_path / "few.txt", tmp_path / "lines.txt", tmp_path / "mine.txt"
    few.write_text("\n".join(russian[:3]), encoding="utf-8")
    lines.write_text("\n".join(russian), encoding="utf-8")
    mine.write_text("\n".join([russian[0]] * 400), encoding="utf-8")  # one document, and its copies
    english = train(TrainConfig(kind="wordpiece", vocab_size=120, family="bert", alphabet=30), ["an elephant"] * 9)
    for folder, tokenizer in (("latin", english), ("bytes", _latin_bytes())):
        write_tokenizer(tokenizer.tokenizer, _made(tmp_path / folder), names=tokenizer.specials.roles)
    cases: list[tuple[str, Path, dict[str, Any], str]] = [
        ("roberta_tiny", few, {}, "leaves . held-out documents|too few for a single sequence"),
        ("roberta_tiny", mine, {}, "too few for a single sequence of 48 tokens|leaves . held-out documents"),
        ("roberta_tiny", lines, {"corpus.held_out_share": 0.0}, "leaves 0 held-out documents"),
        ("roberta_tiny", few, {"corpus.held_out_share": 0.5, "length": 128}, "characters in . documents to train on"),
        ("bert_tiny", lines, {"corpus.border": "line"}, "none of the corpus's .* documents has a second line"),
        (
            "ltg_bert_tiny",
            texts,
            {"tokenizer.given": str(tmp_path / "latin")},
            "latin does not know .*lacks the script",
        ),
        ("roberta_tiny", texts, {"tokenizer.given": str(tmp_path / "bytes")}, "byte by byte: its vocabulary lacks"),
    ]
    for name, path, fields, sentence in cases:
        said: list[str] = []
        with pytest.raises(SlonikError, match=sentence):
            run_pretrain(_recipe(name, path, tmp_path / "out", **fields), said.append)
        assert said == [] and not (tmp_path / "out").exists()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _latin_bytes() -> Trained:
    """A byte-level vocabulary that has never seen a Russian letter."""
    return train(TrainConfig(kind="bpe", vocab_size=300, family="roberta"), ["an elephant walks"] * 9)


def test_a_tokenizer_of_another_family_is_named(texts: Path, tmp_path: Path) -> None:
    decoder = run_pretrain(_recipe("gpt2_tiny", texts, tmp_path / "gpt2", **{"train.max_steps": 1})).checkpoint
    config = _recipe("roberta_tiny", texts, tmp_path / "out", **{"tokenizer.given": str(decoder)})
    with pytest.raises(SlonikError, match="the tokenizer has no mask token"):
        run_pretrain(config)


def test_every_recipe_is_valid_and_can_be_counted() -> None:
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert {f"{family}_{scale}" for family in FAMILIES for scale in ("tiny", "small", "paper")} <= set(names)
    for name in names:
        config = read_config(PretrainConfig, RECIPES / f"{name}.yaml")
        assert config.out == name
        costs = run_costs(config, processes=8)
        assert costs.flops_per_step > 0 and costs.tokens_per_step == config.batch_tokens * config.train.accumulate * 8


def test_a_mixture_gets_as_many_sentinels_as_its_denoisers_need() -> None:
    for name, wanted in (("t5_tiny", 100), ("fred_t5_tiny", 127)):
        fields = {"length": 512, "model.max_length": 512}
        given = read_config(PretrainConfig, RECIPES / f"{name}.yaml", fields)
        free = given.tokenizer.model_copy(update={"sentinels": None})
        assert wanted_sentinels(given.model_copy(update={"tokenizer": free})) == wanted
    with pytest.raises(SlonikError, match=r"127 spans per text .* tokenizer.sentinels is 100"):
        run_costs(given)


PUBLISHED = [  # processes, parameters in millions, tokens of text in all in billions
    ("bert_paper", 8, 178.9, 131.0),
    ("roberta_paper", 64, 355.4, 2097.0),
    ("deberta_paper", 64, 184.0, 524.0),
    ("modernbert_paper", 8, 149.6, 1700.0),
    ("gpt2_paper", 8, 354.8, 1311.0),
    ("t5_paper", 8, 247.6, 76.2),  # 2^20 steps of 128 inputs, each made of 568 tokens
    ("fred_t5_paper", 112, 1740.0, 1500.0),
    ("fred_t5_large_paper", 112, 820.0, 1500.0),
    ("ltg_bert_paper", 8, 98.5, 131.0),
]


@pytest.mark.parametrize(("name", "processes", "millions", "billions"), PUBLISHED)
def test_paper_recipes_have_the_published_sizes(name: str, processes: int, millions: float, billions: float) -> None:
    config = read_config(PretrainConfig, RECIPES / f"{name}.yaml")
    costs = run_costs(config, processes=processes)
    assert costs.model.parameters / 1e6 == pytest.approx(millions, rel=0.02)
    assert costs.steps is not None
    assert costs.tokens_per_step * costs.steps / 1e9 == pytest.approx(billions, rel=0.06)


def test_two_processes_train_the_recipe_and_one_writes(texts: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "slonik"]
    command += ["pretrain", str(RECIPES / "roberta_tiny.yaml"), "--corpus", str(texts), "--out", str(tmp_path / "two")]
    fields = _SMALL | {"train.precision": "fp32", "model.dropout": 0.0, "train.device": "cpu"}
    for name, value in fields.items():
        command += ["--set", f"{name}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "two.json")], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    fields |= {"train.accumulate": 2}
    one = run_pretrain(_recipe("roberta_tiny", texts, tmp_path / "one", **fields))
    losses = [
        [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
        for folder in (tmp_path / "two", one.checkpoint)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert json.loads((tmp_path / "two.json").read_text(encoding="utf-8"))[0]["metric"] == "bits_per_byte"
