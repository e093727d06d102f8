"""Leading dimensions on encodechka: scored as an encoder that gives no more, noted in folder and passport."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.protocols import FloatArray
from slonik.evaluation.encodechka.run import evaluate
from slonik.evaluation.encodechka.suite import encodechka
from slonik.models.baselines import HashingEncoder
from slonik.runtime.static import StaticEncoder, quantised
from slonik.text.tokenizers.training import TrainConfig, train
from tests.evaluation.encodechka.samples import write_data

TASKS = ("sts", "ti", "ic", "speed", "ne1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


class _Halved(HashingEncoder):
    """The first half of hashed words, not of length one, as hashing itself knows nothing of cuts."""

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        return super().encode(texts, prefix=prefix)[:, :32]


def test_a_cut_scores_as_an_encoder_that_gives_no_more(data: Path) -> None:
    whole = HashingEncoder("hashing_64", 64)
    cut = evaluate(whole, data, tasks=TASKS, dimensions=32)
    alone = evaluate(_Halved("half", 64), data, tasks=TASKS)
    tasks = {record.task for record in cut.records}
    assert tasks == {"sts", "ti", "ic"}
    for record in cut.records:
        assert record.model == "hashing_64 (32 dimensions)" and record.detail["dimensions"] == 32
        assert record.value == alone.measured[record.variant, record.task].record.value
    assert evaluate(whole, data, tasks=["sts"], dimensions=64).records[0].value == (
        evaluate(whole, data, tasks=["sts"]).records[0].value
    )


def test_cuts_are_rows_and_stay_with_the_folder(data: Path, tmp_path: Path) -> None:
    config = TrainConfig(kind="unigram", vocab_size=60, lowercase=True, family="gpt2", byte_fallback=False)
    tokenizer = train(config, ["слон идёт домой", "мышь бежит в лес", "а слон спит и не идёт"] * 20).tokenizer
    rows = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16)).astype(np.float32)
    StaticEncoder(quantised(rows, "int8"), tokenizer).write(tmp_path)
    found = encodechka(tmp_path, data_dir=data, tasks="sts", dimensions=[4, 8], passport=True)
    names = list(dict.fromkeys(record.model for record in found.records if record.metric != "difference"))
    assert names == [str(tmp_path), f"{tmp_path} (8 dimensions)", f"{tmp_path} (4 dimensions)"]
    assert {r.detail["against"] for r in found.records if r.metric == "difference"} == {str(tmp_path)}
    assert json.loads((tmp_path / "config.json").read_text())["matryoshka_dimensions"] == [8, 4]
    assert {record.detail.get("dimensions") for record in Passport.read(tmp_path).records} == {None, 8, 4}
    with pytest.raises(SlonikError, match="dimensions is 99, and "):
        encodechka(tmp_path, data_dir=data, tasks="sts", dimensions=99)
