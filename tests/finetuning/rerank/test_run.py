"""`finetune --task rerank` on tiny models: what comes out, what is split, what resumes, what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.data.retrieval import RetrievalSet
from slonik.finetuning.rerank.config import RerankRecipe
from slonik.finetuning.rerank.split import split_data
from slonik.text.task_config import TaskConfig
from tests import tiny

WORDS = [
    "слон", "лес", "река", "туман", "кошка", "окно", "рыба", "снег", "поезд", "билет", "книга", "лампа", "врач",
]  # fmt: skip
FAST = ["tuning.precision=fp32", "tuning.max_steps=3", "candidates=4", "tuning.max_length=32"]
PAIR = ("слон и лес", "поезд и билет на стол")


def rows(count: int, *, negatives: bool = False) -> list[dict[str, Any]]:
    """Queries about two words, and documents that have them."""
    rng = random.Random(0)
    made: list[dict[str, Any]] = []
    for number in range(count):
        asked = " ".join([*rng.sample(WORDS, 2), str(number)])
        made.append({"query": asked, "document": f"{asked} {rng.choice(WORDS)} {rng.choice(WORDS)}", "label": 1})
        if negatives:
            made.append({"query": asked, "document": f"{' '.join(rng.choices(WORDS, k=4))} {number}", "label": 0})
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("base") / "base", "bert")


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> folder of a model that was trained for three steps."""
    out = tmp_path_factory.mktemp("made")
    for kind in ("cross-encoder", "bi-encoder"):
        slonik.finetune(str(base), rows(40), task="rerank", out=out / kind, kind=kind, set=FAST)
    return {kind: out / kind for kind in ("cross-encoder", "bi-encoder")}


def test_a_cross_encoder_has_the_stock_shape_and_is_read_alike_by_others(made: dict[str, Path]) -> None:
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification

    folder = made["cross-encoder"]
    content = json.loads((folder / "config.json").read_text())
    assert content["architectures"] == ["BertForSequenceClassification"] and len(content["id2label"]) == 1
    config = TaskConfig.read(folder)
    assert (config.target, config.outputs, config.columns["text"]) == ("number", 1, ["query", "document"])
    model = slonik.load(folder)
    scores = model.logits([PAIR, PAIR[::-1]])
    assert scores.shape == (2, 1)
    sigmoid = 1 / (1 + np.exp(-scores[:, 0]))
    other = CrossEncoder(str(folder))
    assert np.abs(other.predict([PAIR, PAIR[::-1]]) - sigmoid).max() < 1e-5
    stock = AutoModelForSequenceClassification.from_pretrained(folder)
    inputs = other.tokenizer(*PAIR, return_tensors="pt")
    assert stock(**inputs).logits.item() == pytest.approx(float(scores[0, 0]), abs=1e-5)
    named = model.predict([{"query": PAIR[0], "document": PAIR[1]}])
    assert named[0].label == pytest.approx(float(sigmoid[0]), abs=1e-5)


def test_a_bi_encoder_is_a_sentence_encoder_with_its_pipeline(made: dict[str, Path], base: Path) -> None:
    from sentence_transformers import SentenceTransformer

    trained, before = slonik.load(made["bi-encoder"]), slonik.load(base)
    assert trained.sentence.facts() == before.sentence.facts()
    vectors = trained.encode(list(PAIR))
    assert np.abs(SentenceTransformer(str(made["bi-encoder"])).encode(list(PAIR)) - vectors).max() < 1e-5


@pytest.mark.parametrize("kind", ["cross-encoder", "bi-encoder"])
def test_results_have_baselines_on_the_same_queries_and_a_passport(
    made: dict[str, Path], kind: str, base: Path
) -> None:
    records = read_records(made[kind] / "results.json")
    names = {one.model for one in records if " - " not in one.model}
    assert names == {str(base), "bm25", "random", "untrained"}
    assert {one.metric for one in records if one.model == "bm25"} == {"ndcg@10", "mrr@10", "recall@10"}
    assert {one.n for one in records if one.model in ("bm25", "untrained")} == {8}
    assert {one.task for one in records} == {"rerank"} and {one.variant for one in records} == {"held_out"}
    passport = Passport.read(made[kind])
    assert passport.lineage[-1].command == "finetune" and {one.model for one in passport.records} == {str(base)}


def test_queries_are_split_never_rows() -> None:
    recipe = RerankRecipe(model="m", out="o", train="t")
    split = split_data(recipe, rows(60, negatives=True), None)
    parts = [{asked.text for asked in part} for part in (split.fit, split.stop, split.measured)]
    assert [len(part) for part in parts] == [29, 19, 12] and len(set.union(*parts)) == 60
    for asked in (*split.stop, *split.measured):
        assert not split.free[asked.relevant].any()
    assert split.free.sum() == 120 - 31
    given = split_data(recipe, rows(60), rows(20))
    assert (given.name, len(given.measured)) == ("valid", 20)
    assert any("20 queries are held out too" in note for note in given.notes) or len(given.fit) < 40
    assert not {asked.text for asked in given.fit} & {asked.text for asked in given.measured}


def test_training_goes_on_and_is_not_repeated(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import slonik.finetuning.rerank.run as module

    said: list[str] = []
    options: dict[str, Any] = {"task": "rerank", "out": tmp_path / "out", "set": FAST, "announce": said.append}
    with monkeypatch.context() as broken:
        broken.setattr(module, "own_records", lambda *_: (_ for _ in ()).throw(SlonikError("stopped here")))
        with pytest.raises(SlonikError, match="stopped here"):
            slonik.finetune(str(base), rows(40), **options)
    assert not (tmp_path / "out").exists()
    found = slonik.finetune(str(base), rows(40), **options)
    assert any("training a cross-encoder: done before" in line for line in said)
    unlearnt = any("the untrained model is what was kept" in line for line in said)
    assert unlearnt == (found.summary["best_step"] == 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_cross_encoder_is_trained_further_and_a_loaded_encoder_is_left_as_it_is(
    made: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    found = slonik.finetune(
        str(made["cross-encoder"]), rows(40, negatives=True), task="rerank", out=tmp_path / "further", set=FAST,
        loss="bce",
    )  # fmt: skip
    assert found.summary["mined"] == 0  # every query has negatives of its own
    assert len(Passport.read(tmp_path / "further").lineage) == 2
    config = TaskConfig.read(tmp_path / "further")
    assert (config.shape, config.activation, config.details) == ("stock", "sigmoid", {"loss": "bce"})
    encoder = slonik.load(base)
    before = encoder.weights_hash()
    slonik.finetune(
        encoder, rows(40), task="rerank", out=tmp_path / "bi", kind="bi-encoder", mine="encoder", set=FAST
    )  # fmt: skip
    assert encoder.weights_hash() == before


def test_it_learns(base: Path, tmp_path: Path) -> None:
    found = slonik.finetune(
        str(base), rows(60), task="rerank", out=tmp_path / "out", kind="bi-encoder", epochs=12, learning_rate=2e-3,
        set=["tuning.precision=fp32", "tuning.freeze=nothing", "tuning.evaluations=1"],
    )  # fmt: skip
    values = {one.model: one.value for one in found.records if one.metric == "ndcg@10"}
    assert (values[str(base)] or 0) > (values["untrained"] or 0) + 0.1


def test_what_was_trained_is_measured_on_a_corpus(made: dict[str, Path], tmp_path: Path) -> None:
    task = RetrievalSet.of({"1": PAIR[1], "2": "слон в лесу"}, {"q": PAIR[0]}, {"q": {"2": 1}}, name="toy")
    found = slonik.evaluate(made["bi-encoder"], "retrieval", data=task, rerank=made["cross-encoder"], cache=False)
    assert any(one.model.endswith(f"+ {made['cross-encoder']}") for one in found.records)
    with pytest.raises(SlonikError, match="is no cross-encoder"):
        slonik.evaluate("bm25", "retrieval", data=task, rerank=made["bi-encoder"])


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("base", {"loss": "bce", "kind": "bi-encoder"}, "bce is a loss of cross-encoders"),
        ("base", {"set": ["tuning.freeze=encoder"], "kind": "bi-encoder"}, "nothing of a bi-encoder is trained"),
        ("base", {"set": ["temperature=0.1"]}, "temperature is of bi-encoders"),
        ("base", {"kind": "tri-encoder"}, "tri-encoder"),
        ("base", {"text_columns": ["query"]}, "give two text columns"),
        ("base", {"data": None}, "name your queries and documents"),
        ("base", {"data": rows(6)}, "queries to learn from"),
        ("cross", {"kind": "bi-encoder"}, "has a head for a task"),
        ("cross", {"mine": "encoder"}, "finds nothing by itself"),
        ("hashing_300", {}, "is trained from an encoder's weights"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    base: Path, made: dict[str, Path], tmp_path: Path, model: str, options: dict[str, Any], sentence: str
) -> None:
    names = {"base": str(base), "cross": str(made["cross-encoder"])}
    given = {"data": rows(40), **options}
    with pytest.raises(SlonikError, match=sentence):
        slonik.finetune(names.get(model, model), given.pop("data"), task="rerank", out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()
