"""Adaptation with other vocabularies, low-rank matrices, every optimizer, accumulation and several processes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from slonik.cli.main import main
from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.run import Announce, silent
from slonik.models import load
from slonik.models.language_model import load_language_model
from slonik.pretraining.adaptation.adapt import Adaptation, run_adapt
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.bits_per_byte import HeldOutBits
from slonik.pretraining.corpus import CorpusSettings, prepare_corpus
from slonik.text.tokenizers.families import family
from slonik.text.tokenizing import write_tokenizer
from slonik.train.run_log import read_metrics
from tests import tiny
from tests.together import together

_TRAIN = {"max_steps": 4, "batch_tokens": 400, "learning_rate": 3e-3, "evaluations": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two corpora, an encoder without a head, one with a head, a decoder, another tokenizer."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("size")
    draw = random.Random(0)
    lines = [f"Сервер {draw.choice(tiny.TEXTS)} {draw.choice(tiny.TEXTS)}" for _ in range(120)]
    (folder / "domain.txt").write_text("\n".join(lines), encoding="utf-8")
    lines = [f"{draw.choice(tiny.TEXTS)} Да, {number}." for number in range(120)]
    (folder / "general.txt").write_text("\n".join(lines), encoding="utf-8")
    tiny.checkpoint(folder / "headless", "bert")
    tiny.checkpoint(folder / "gpt2", "gpt2")
    write_tokenizer(tiny.tokenizer("wordpiece", 300), folder / "new", names=family("bert").roles, types=True)
    return folder


def _adapt(place: Path, out: Path, model: str, announce: Announce = silent, **fields: Any) -> Adaptation:
    values: dict[str, Any] = {
        "model": str(place / model), "out": str(out), "max_length": 40, "measured_documents": 12,
        "corpus": {"files": [str(place / "domain.txt")], "held_out_share": 0.3},
        "general": {"files": [str(place / "general.txt")], "held_out_share": 0.3},
        "train": _TRAIN | fields.pop("train", {}),
    }  # fmt: skip
    return run_adapt(build_config(AdaptConfig, values | fields), announce)


def _values(found: Adaptation) -> dict[tuple[str, str], float]:
    return {(r.task, r.variant): float(r.value or 0) for r in found.records if r.metric == "bits_per_byte"}


def _bytes(found: Adaptation) -> dict[str, set[int]]:
    sizes: dict[str, set[int]] = {}
    for record in found.records:
        if record.metric == "bits_per_byte":
            sizes.setdefault(record.task, set()).add(record.detail["bytes"])
    return sizes


def test_before_is_the_original_in_its_own_vocabulary_over_the_same_bytes(place: Path, tmp_path: Path) -> None:
    short = {"max_steps": 2, "trackers": []}
    plain = _adapt(place, tmp_path / "plain", "headless", train=short)
    before = _values(plain)["domain", "before"]
    assert {variant for _, variant in _values(plain)} == {"before", "after"}
    for name, change in (
        ("words", {"new_words": 4, "min_frequency": 5}),
        ("tokenizer", {"tokenizer": str(place / "new")}),
    ):
        found = _adapt(place, tmp_path / name, "headless", vocabulary=change, train=short)
        bits = _values(found)
        assert bits["domain", "before"] == before  # the head was trained in the original's vocabulary too
        assert bits["domain", "start"] != before  # what the change alone costs stands beside
        assert _bytes(found) == _bytes(plain) and all(len(sizes) == 1 for sizes in _bytes(found).values())
        after = next(r for r in found.records if r.metric == "change" and r.variant == "after" and r.task == "domain")
        assert after.value == pytest.approx(bits["domain", "after"] / before - 1)


@pytest.mark.parametrize(("name", "lm"), [("withhead", AutoModelForMaskedLM), ("gpt2", AutoModelForCausalLM)])
def test_low_rank_matrices_are_added_to_the_weights_and_kept_for_peft(
    name: str, lm: Any, place: Path, tmp_path: Path
) -> None:
    if name == "withhead":
        _adapt(place, place / name, "headless")
    said: list[str] = []
    found = _adapt(place, tmp_path / "out", name, said.append, lora={"rank": 4, "keep": True})
    bits = _values(found)
    assert bits["domain", "after"] < bits["domain", "before"]
    assert any("of rank 4 beside" in line for line in said)
    told = Passport.read(found.checkpoint).lineage[-1].summary["lora"]
    assert "added to the weights, and kept in lora/" in told
    merged, original = lm.from_pretrained(found.checkpoint).eval(), lm.from_pretrained(place / name).eval()
    tables = [model.get_input_embeddings().weight for model in (merged, original)]
    assert torch.equal(*tables) and not [name for name, _ in merged.named_parameters() if "lora" in name]
    ids = torch.tensor([[0, 7, 9, 11, 2]])
    with torch.no_grad():
        wanted = merged(input_ids=ids).logits
        assert not torch.allclose(original(input_ids=ids).logits, wanted, atol=1e-3)
        adapter = PeftModel.from_pretrained(original, tmp_path / "out" / "lora").eval()
        assert torch.allclose(adapter(input_ids=ids).logits, wanted, atol=1e-5)
    assert load_language_model(found.checkpoint).has_head and np.isfinite(load(place / "headless").encode(["Да"])).all()


class Crash(Exception):
    """Stands for a power cut."""


def test_low_rank_training_goes_on_after_a_crash_to_the_same_weights(place: Path, tmp_path: Path) -> None:
    calls = iter(range(100))
    measure = HeldOutBits.measure

    def crashing(self: HeldOutBits, *arguments: Any) -> Any:
        if next(calls) == 3:  # before, at the beginning of the training, after step 2, after step 4
            raise Crash
        return measure(self, *arguments)

    fields: dict[str, Any] = {"general": None, "lora": {"rank": 2, "dropout": 0.1}}
    often = {"evaluations": 2, "save_every_minutes": 0.0, "trackers": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldOutBits, "measure", crashing)
        with pytest.raises(Crash):
            _adapt(place, tmp_path / "again", "gpt2", train=often, **fields)
    found = [_adapt(place, tmp_path / name, "gpt2", train=often, **fields) for name in ("again", "whole")]
    first, second = (load_file(each.checkpoint / "model.safetensors") for each in found)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        ("gpt2", {"lora": {"layers": ["q_proj"]}}, "'q_proj': there are c_attn, c_fc, c_proj"),
        ("gpt2", {"lora": {}, "vocabulary": {"new_words": 3}}, "lora leaves the embeddings as they are"),
        ("gpt2", {"lora": {}, "train": {"sharding": "full"}}, "lora goes with sharding none"),
        ("headless", {"lora": {}, "head": {"first": False}}, "lora trains no head"),
        ("headless", {"lora": {"keep": True}}, "has no language-model head, and one that is made for it"),
        ("gpt2", {"lora": {"keep": True}, "every": 2}, "lora.keep is for the original model"),
        ("gpt2", {"lora": {"rank": 0}}, "rank"),
        ("gpt2", {"train": {"seed": 3}}, "seed is not for an adaptation: give the seed of the whole"),
        ("gpt2", {"train": {"best_metric": "loss"}}, "best_metric is not for an adaptation"),
        ("gpt2", {"train": {"epochs": 2.0}}, "max_steps and epochs cannot be combined"),
        ("gpt2", {"train": {"evaluations": 2, "evaluate_every_steps": 3}}, "say the same"),
        ("gpt2", {"train": {"optimizer": "sgd"}}, "sgd"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(
    model: str, fields: dict[str, Any], words: str, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(SlonikError, match=words):
        _adapt(place, tmp_path / "out", model, **fields)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.steps").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "adafactor", "schedule": "constant", "learning_rate": 1e-2},
        {"optimizer": "lamb", "schedule": "linear", "final_ratio": 0.1},
        {"optimizer": "muon", "layer_decay": 0.9, "patience": 3, "clip_norm": 0.5},
    ],
)
def test_every_optimizer_and_schedule_of_the_loop(fields: dict[str, Any], place: Path, tmp_path: Path) -> None:
    found = _adapt(place, tmp_path / "out", "gpt2", general=None, train=fields)
    bits = _values(found)
    assert bits["domain", "after"] < bits["domain", "before"]


def test_steps_of_epochs_count_accumulated_batches(place: Path, tmp_path: Path) -> None:
    steps = []
    for number in (1, 3):
        fields = {"max_steps": None, "epochs": 2.0, "accumulate": number, "evaluate_every_steps": 50, "evaluations": 4}
        found = _adapt(place, tmp_path / str(number), "gpt2", general=None, train=fields)
        lines = read_metrics(found.checkpoint / "metrics.jsonl")
        steps.append(max(line["step"] for line in lines))
    assert steps[0] == pytest.approx(3 * steps[1], abs=3) and steps[1] >= 2


def test_corpora_that_were_tokenised_before_are_taken_as_they_are(place: Path, tmp_path: Path) -> None:
    tokenizer = load_language_model(place / "gpt2").tokenizer
    shards = {}
    for name in ("domain", "general"):
        settings = CorpusSettings(files=(str(place / f"{name}.txt"),), held_out_share=0.3)
        prepare_corpus(settings, tokenizer, tmp_path / name)
        shards[name] = {"files": [str(tmp_path / name)]}
    corpora = {"corpus": shards["domain"], "general": shards["general"]}
    texts, made = (
        _values(_adapt(place, tmp_path / out, "gpt2", **fields)) for out, fields in (("texts", {}), ("shards", corpora))
    )
    assert made == texts
    with pytest.raises(SlonikError, match="is tokenised already, so its words cannot be counted"):
        _adapt(place, tmp_path / "words", "gpt2", **corpora, vocabulary={"new_words": 3})
    with pytest.raises(SlonikError, match="was made with another tokenizer"):
        _adapt(place, tmp_path / "other", "headless", **corpora)


def test_two_processes_make_the_steps_of_one_that_accumulates(place: Path, tmp_path: Path) -> None:
    fields = {**_TRAIN, "max_steps": 3, "device": "cpu", "trackers": [], "log_every_steps": 1}
    command = ["adapt", str(place / "gpt2"), "--corpus", str(place / "domain.txt"), "--out", str(tmp_path / "two")]
    command += ["--set", "max_length=40", "--set", "corpus.held_out_share=0.3", "--set", "vocabulary.new_words=4"]
    command += ["--set", "vocabulary.min_frequency=5", "--set", "measured_documents=12"]
    for name, value in fields.items():
        command += ["--set", f"train.{name}={value}"]
    said = together(2, lambda: main(command), tmp_path / "said")
    assert said.count("| domain | after |") == 1 and said.count("checkpoint:") == 1
    assert not (tmp_path / "two.steps").exists()
    vocabulary = {"new_words": 4, "min_frequency": 5}
    train = {**fields, "accumulate": 2}
    one = _adapt(place, tmp_path / "one", "gpt2", general=None, vocabulary=vocabulary, train=train)
    losses = [
        [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]
        for folder in (tmp_path / "two", one.checkpoint)
    ]
    assert len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert Passport.read(tmp_path / "two").lineage[-1].summary["domain after bits_per_byte"] == pytest.approx(
        _values(one)["domain", "after"], rel=1e-3
    )
