"""Encoder-decoders are adapted by the noise that they were pretrained with, on tiny T5s made here."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.models.fresh import Shape, build
from slonik.models.generation import load_generator
from slonik.models.language_model import load_language_model
from slonik.pretraining.adaptation.adapt import Adaptation, run_adapt
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.objective import denoisers_of
from slonik.pretraining.denoising import FRED_T5, PRESETS, DenoiserMixture
from slonik.pretraining.tokenizer import Vocabulary
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.text.tokenizing import load_tokenizer, write_tokenizer
from tests import tiny

FAMILIES = ("t5", "fred-t5")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two corpora and a random model of each family, with dropout."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("denoising")
    draw = random.Random(0)
    lines = [f"Сервер {draw.choice(tiny.TEXTS)} {draw.choice(tiny.TEXTS)}" for _ in range(200)]
    (folder / "domain.txt").write_text("\n".join([*lines, "Да"]), encoding="utf-8")
    general = [f"{draw.choice(tiny.TEXTS)} Да, {number}." for number in range(200)]
    (folder / "general.txt").write_text("\n".join(general), encoding="utf-8")
    for family in FAMILIES:
        _model(folder / family, family, sentinels=30)
    return folder


def _model(folder: Path, family: Any, *, sentinels: int) -> Path:
    trained = train(TrainConfig(kind="bpe", vocab_size=600, family=family, sentinels=sentinels), tiny.TEXTS)
    specials = trained.specials
    write_tokenizer(trained.tokenizer, folder, names=specials.roles, types=specials.type_ids, max_length=64)
    shape = Shape(family=family, layers=2, hidden=32, heads=2, ffn=64, max_length=64, dropout=0.1)
    build(shape, Vocabulary.open(folder).ids, seed=1).save_pretrained(folder)
    return folder


def _adapt(place: Path, model: str, out: Path, **fields: Any) -> Adaptation:
    training = {"max_steps": 12, "batch_tokens": 400, "learning_rate": 1e-2, "evaluations": 2, "precision": "fp32"}
    values: dict[str, Any] = {
        "model": str(place / model), "out": str(out), "max_length": 40,
        "corpus": {"files": [str(place / "domain.txt")], "held_out_share": 0.3},
        "general": {"files": [str(place / "general.txt")], "held_out_share": 0.3},
        "train": training | fields.pop("train", {}),
    }  # fmt: skip
    return run_adapt(build_config(AdaptConfig, values | fields))


@pytest.mark.parametrize("family", FAMILIES)
def test_bits_fall_and_the_checkpoint_is_the_same_kind_of_model(place: Path, tmp_path: Path, family: str) -> None:
    found = _adapt(place, family, tmp_path / "out", train={"max_steps": 40})
    bits = {(r.task, r.variant): float(r.value or 0) for r in found.records if r.metric == "bits_per_byte"}
    assert set(bits) == {(task, stage) for task in ("domain", "general") for stage in ("before", "after")}
    assert bits["domain", "after"] < 0.95 * bits["domain", "before"]
    passport = Passport.read(found.checkpoint)
    step = passport.lineage[-1]
    assert (step.command, step.config["objective"]) == ("adapt", "denoising")
    assert step.inputs["parent"] == load_language_model(place / family, "denoising").weights_hash()
    before, after = load_file(place / family / "model.safetensors"), load_file(found.checkpoint / "model.safetensors")
    assert before.keys() == after.keys() and "lm_head.weight" in after  # its own head, not tied on the way
    assert not any(torch.equal(before[name], after[name]) for name in ("lm_head.weight", "shared.weight"))
    assert load_tokenizer(found.checkpoint).get_vocab() == load_tokenizer(place / family).get_vocab()
    assert not (found.checkpoint / "modules.json").exists()
    assert len(load_generator(found.checkpoint).complete(["Слон"])) == 1


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _adapt(place, "fred-t5", tmp_path / "whole")
    loss, calls = DenoiserMixture.loss, []

    def cut_off(self: Any, model: Any, batch: Any) -> Any:
        calls.append(None)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return loss(self, model, batch)

    often = {"save_every_minutes": 0.0}
    monkeypatch.setattr(DenoiserMixture, "loss", cut_off)
    with pytest.raises(KeyboardInterrupt):
        _adapt(place, "fred-t5", tmp_path / "again", train=often)
    resumed = _adapt(place, "fred-t5", tmp_path / "again", train=often)
    assert len(calls) == 13  # the eighth of 12 steps twice
    first, second = (load_file(found.checkpoint / "model.safetensors") for found in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [r.value for r in whole.records] == [r.value for r in resumed.records]


def test_the_mixture_is_that_of_the_tokenizer(place: Path) -> None:
    found = {}
    for family in FAMILIES:
        config = AdaptConfig(model="m", out="o", corpus={"files": ["x"]})  # type: ignore[arg-type]
        pieces = token_facts(load_tokenizer(place / family))
        found[family] = denoisers_of(config, pieces)
        assert denoisers_of(config.model_copy(update={"denoisers": "t5"}), pieces) == PRESETS["t5"]
    assert found == {"t5": PRESETS["t5"], "fred-t5": FRED_T5}


@pytest.mark.parametrize(
    ("model", "fields", "sentence"),
    [
        ("bare", {}, r"has no sentinels \(<extra_id_0>"),
        ("few", {}, "spans in an input of 40 tokens need as many sentinels, and the tokenizer of .* has 1: lower"),
        ("t5", {"denoisers": "fred-t5"}, "no special token '<LM>'"),
        ("t5", {"objective": "mlm"}, r"is an encoder-decoder \(t5\): adapt it with --objective denoising"),
        ("t5", {"max_length": 65}, "longer than the 64 positions"),
        ("t5", {"every": 2}, "a student of every second layer"),
        ("t5", {"vocabulary": {"new_words": 3}}, "encoder-decoders keep their vocabulary"),
        ("t5", {"vocabulary": {"tokenizer": "x"}}, "encoder-decoders keep theirs"),
        ("bert", {"objective": "denoising"}, r"is an encoder \(bert\): adapt it with --objective mlm"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(
    place: Path, tmp_path: Path, model: str, fields: dict[str, Any], sentence: str
) -> None:
    if model == "bare":
        shutil.copytree(place / "t5", place / "bare", dirs_exist_ok=True)
        file = place / "bare" / "tokenizer.json"
        file.write_text(file.read_text(encoding="utf-8").replace("<extra_id_", "<hole_"), encoding="utf-8")
    elif model == "few":
        _model(place / "few", "t5", sentinels=1)
    elif model == "bert":
        tiny.checkpoint(place / "bert", "bert")
    with pytest.raises(SlonikError, match=sentence):
        _adapt(place, model, tmp_path / "out", **fields)
    assert list(tmp_path.iterdir()) == []


def test_decoders_need_not_name_their_objective(place: Path, tmp_path: Path) -> None:
    tiny.checkpoint(tmp_path / "gpt2", "gpt2")
    found = _adapt(place, str(tmp_path / "gpt2"), tmp_path / "out", train={"max_steps": 2})
    assert Passport.read(found.checkpoint).lineage[-1].config["objective"] == "clm"
