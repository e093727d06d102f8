"""The repetition study at toy size: every run done, skipped when done, and its table."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slonik.core.config import build_config, read_config
from slonik.core.errors import SlonikError
from slonik.core.records import read_records
from slonik.data.filters import normalise_text
from slonik.data.sampling import is_held_out
from slonik.pretraining.corpus import documents_of
from slonik.pretraining.repetition import study
from slonik.pretraining.repetition.config import RepetitionConfig
from slonik.pretraining.repetition.runs import part_of, plans
from slonik.pretraining.repetition.study import run_study, seed_interval
from slonik.pretraining.shards import TokenCorpus
from tests import tiny

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def _config(folder: Path, **fields: Any) -> RepetitionConfig:
    draw = random.Random(0)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(f"{draw.choice(tiny.TEXTS)} {n}" for n in range(400)), encoding="utf-8")
    values: dict[str, Any] = {
        "out": str(folder / "study"), "vocab_size": 450, "length": 24, "steps": 10, "batch_tokens": 96,
        "corpus": {"files": [str(corpus)], "border": 4, "held_out_share": 0.2}, "parts": [1, 32], "seeds": [0],
        "schedule": {"part": 32, "switch": 0.5}, "evaluations": 2, "measured_sequences": 4,
        "shape": {"layers": 1, "hidden": 16, "heads": 2, "ffn": 32},
    }  # fmt: skip
    return build_config(RepetitionConfig, values | fields)


def test_every_run_is_done_once_and_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    found = run_study(_config(tmp_path), lines.append)
    assert len(plans(_config(tmp_path))) == 9
    assert {record.task for record in found.records} == {"mlm", "t5", "fred-t5"}
    assert {record.variant for record in found.records} == {"1", "1/32", "1/32 then all"}
    assert sorted(path.name for path in found.out.glob("*.png")) == ["fred-t5.png", "mlm.png", "t5.png"]
    assert read_records(found.out / "records.json") == list(found.records)
    by_key = {(record.task, record.variant, record.metric): record for record in found.records}
    for task in ("mlm", "t5", "fred-t5"):
        held, all_data = by_key[task, "1/32", "held_out_loss"], by_key[task, "1", "held_out_loss"]
        assert by_key[task, "1/32", "rise"].value == pytest.approx(held.value - all_data.value)
        assert by_key[task, "1/32 then all", "jump"].value is not None
        assert held.detail["unique_tokens"] < all_data.detail["unique_tokens"] / 4
        assert held.detail["passes"] > all_data.detail["passes"]
        assert 0.5 < by_key[task, "1", "bits_per_byte"].value < 8
    assert found.table.count("\n") == 2 + 9
    lines.clear()
    again = run_study(_config(tmp_path, seeds=[0, 1], objectives=["mlm"]), lines.append)
    assert sum("done before" in line for line in lines) == 1 + 3  # the tokenizer and the runs of seed 0
    held = next(record for record in again.records if record.metric == "held_out_loss")
    assert held.n == 2 and held.low < held.value < held.high


def test_a_study_of_another_corpus_is_refused_and_other_fields_make_runs_anew(tmp_path: Path) -> None:
    few: dict[str, Any] = {"objectives": ["mlm"], "schedule": None}
    run_study(_config(tmp_path, **few))
    lines: list[str] = []
    run_study(_config(tmp_path, **few, learning_rate=1e-3), lines.append)
    assert [line.partition(" ...")[0] for line in lines if " ..." in line] == [
        "run 1 of 2: mlm-1of1-seed0", "run 2 of 2: mlm-1of32-seed0",
    ]  # fmt: skip
    changed = _config(tmp_path, **few)
    text = (tmp_path / "corpus.txt").read_text(encoding="utf-8")
    (tmp_path / "corpus.txt").write_text(text.replace("слон", "лсон").replace("Слон", "Лсон"), encoding="utf-8")
    with pytest.raises(SlonikError, match=r"made from other inputs \(corpus.corpus.txt changed\)"):
        run_study(changed)


def test_the_tokenizer_reads_no_held_out_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def spied(settings: Any, texts: Any) -> Any:
        read.extend(texts)
        raise SlonikError("seen enough")

    monkeypatch.setattr(study, "train", spied)
    config = _config(tmp_path)
    with pytest.raises(SlonikError, match="seen enough"):
        run_study(config)
    all_of_it = [normalise_text(document.text) for document in documents_of(config.corpus)]
    held_out = [text for text in all_of_it if is_held_out(text, 0.2)]
    assert held_out and sorted([*read, *held_out]) == sorted(all_of_it)


def test_parts_of_one_seed_contain_each_other() -> None:
    rng = np.random.default_rng(0)
    documents = [[[int(token)] * int(rng.integers(1, 9))] for token in range(200)]
    corpus = TokenCorpus.of(documents)
    parts = [part_of(corpus, part, seed=1) for part in (1, 4, 16)]
    tokens = [set(part.tokens(0, part.token_count).tolist()) for part in parts]
    assert tokens[2] < tokens[1] < tokens[0] == set(range(200))
    for part, share in zip(parts, (1, 4, 16), strict=True):
        assert part.token_count == pytest.approx(corpus.token_count / share, abs=9)
    assert part_of(corpus, 16, seed=2).tokens(0, 20).tolist() != parts[2].tokens(0, 20).tolist()


def test_interval_over_seeds_by_hand() -> None:
    low, high = seed_interval([1.0, 2.0])
    assert (low, high) == (pytest.approx(1.5 - 12.706 * 0.5), pytest.approx(1.5 + 12.706 * 0.5))
    assert seed_interval([1.0]) == (None, None)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"parts": [4]}, "the whole corpus"),
        ({"parts": [1, 512]}, "less than two sequences"),
        ({"format": 2}, "this slonik reads recipes of format 1"),
        ({"corpus": {"files": []}}, "at least one file"),
    ],
)
def test_what_cannot_be_studied_is_refused(tmp_path: Path, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SlonikError, match=sentence):
        run_study(_config(tmp_path, **fields))


@pytest.mark.parametrize("name", ["repetition_smoke.yaml", "repetition_tiny.yaml"])
def test_recipes_are_valid(name: str) -> None:
    assert read_config(RepetitionConfig, RECIPES / name).steps > 0
