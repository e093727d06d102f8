"""`evaluate retrieval` on toy sets: encoders, BM25, rankings in files and cross-encoders; records and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import slonik
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.data.retrieval import RetrievalSet
from slonik.evaluation.agreement import unit
from slonik.evaluation.retrieval import rankers
from slonik.evaluation.retrieval.rankers import ByVectors
from slonik.evaluation.retrieval.reranker import Reranker
from slonik.evaluation.suite import Evaluation
from tests import tiny
from tests.data.test_retrieval import write_set

DOCUMENTS = {f"d{number}": text for number, text in enumerate(tiny.TEXTS[:12])}
QUERIES = {"q1": "маленький слон в лесу", "q2": "туман над рекой", "q3": "газета", "q4": "поезд"}
QRELS: dict[str, dict[str, int]] = {
    "q1": {"d0": 2, "d1": 0}, "q2": {"d1": 1, "d0": 1}, "q3": {"d2": 1}, "q4": {"d3": 1},
}  # fmt: skip


class Longest:
    """A cross-encoder that likes long documents."""

    name, target, labels = "longest", "number", ()

    def __init__(self) -> None:
        self.read: list[Any] = []

    def logits(self, rows: Any, *, long_texts: Any = None) -> NDArray[np.float32]:
        self.read += rows
        return np.array([[len(document)] for _, document in rows], dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {}

    def identity(self) -> str:
        return "longest"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def task() -> RetrievalSet:
    return RetrievalSet.of(DOCUMENTS, QUERIES, QRELS, name="toy")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.checkpoint(tmp_path_factory.mktemp("model") / "model", "bert")
    prompts = {"prompts": {"query": "вопрос: ", "passage": "текст: "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts), encoding="utf-8")
    return folder


def _measured(*args: Any, **options: Any) -> Evaluation:
    return slonik.evaluate(*args, suite="retrieval", **options)


def _values(found: Evaluation, model: str) -> dict[str, float | None]:
    return {one.metric: one.value for one in found.records if one.model == model}


@pytest.mark.parametrize("block", [1, 5, 4096])
def test_an_encoder_ranks_by_cosine_with_its_own_prompts(
    task: RetrievalSet, checkpoint: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankers, "BLOCK", block)
    encoder = slonik.load(checkpoint)
    queries = unit(encoder.encode(list(QUERIES.values()), prefix="вопрос: "))
    documents = unit(encoder.encode(list(DOCUMENTS.values()), prefix="текст: "))
    ranking = ByVectors(encoder).rank(task, 5)
    assert ranking.numbers.tolist() == np.argsort(-np.round(queries @ documents.T, 6), axis=1)[:, :5].tolist()
    other = ByVectors(encoder, "", "", cache=False).rank(task, 5)
    assert np.abs(other.scores - ranking.scores).max() > 1e-4


def test_vectors_of_documents_are_kept_by_weights_and_prefix(task: RetrievalSet, checkpoint: Path) -> None:
    counts = []
    for prefix in (None, None, "иначе: "):
        ranker = ByVectors(slonik.load(checkpoint), document_prefix=prefix)
        ranker.rank(task, 5)
        counts.append((ranker.detail["encoded"], ranker.detail["reused"]))
    assert counts == [(12, 0), (0, 12), (12, 0)]


def test_records_tables_and_paired_differences(task: RetrievalSet) -> None:
    found = _measured([slonik.load("hashing_300"), "bm25_words"], data=task)
    names = ["bm25", "random", "hashing_300", "bm25_words"]
    assert list(dict.fromkeys(one.model for one in found.records if " - " not in one.model)) == names
    assert {one.metric for one in found.records if one.model == "bm25"} == {
        "ndcg@10", "mrr@10", "recall@10", "recall@100",
    }  # fmt: skip
    for one in found.records:
        assert one.value is not None and one.low is not None and one.high is not None
        assert (one.suite, one.task, one.n) == ("retrieval", "toy", 4) and one.low <= one.value <= one.high
    pairs = {one.model for one in found.records if " - " in one.model}
    assert pairs == {"hashing_300 - bm25", "bm25_words - bm25", "bm25_words - hashing_300"}
    change = next(one for one in found.records if one.model == "hashing_300 - bm25" and one.metric.startswith("ndcg"))
    apart = [_values(found, name)["ndcg@10"] for name in ("hashing_300", "bm25")]
    assert change.value == pytest.approx((apart[0] or 0) - (apart[1] or 0))
    assert "hashing_300" in str(found) and found.tables[0].rows[0].baseline
    assert [one.value for one in _measured("bm25", data=task).records if one.model == "bm25"] == list(
        _values(found, "bm25").values()
    )


def test_a_cross_encoder_orders_the_first_documents_anew(task: RetrievalSet) -> None:
    model = Longest()
    found = _measured(slonik.load("hashing_300"), data=task, rerank=model, top=3, baselines=False)
    assert [one.model for one in found.records[:8:4]] == ["hashing_300", "hashing_300 + longest"]
    assert len(model.read) == 3 * 4 and set(model.read) <= {
        (q, d) for q in QUERIES.values() for d in DOCUMENTS.values()
    }
    first = ByVectors(slonik.load("hashing_300")).rank(task, 12)
    second = Reranker(Longest(), 3).rerank(task, first)
    texts = list(DOCUMENTS.values())
    for row in range(4):
        head, tail = first.found(row)[:3], first.found(row)[3:]
        assert second.found(row) == sorted(head, key=lambda number: -len(texts[number])) + tail
        assert (np.diff(second.scores[row]) < 0).all() or len({len(texts[number]) for number in head}) < 3


def test_a_cross_encoder_alone_is_measured_over_bm25(task: RetrievalSet) -> None:
    found = _measured(Longest(), data=task, baselines=False)
    assert {one.model for one in found.records} == {"longest"}
    assert found.records[0].detail["first_stage"] == "bm25" and "first 100 documents of bm25" in found.notes[-1]
    both = _measured("bm25", data=task, rerank=Longest())
    assert _values(both, "bm25 + longest") == _values(found, "longest")


def test_rankings_that_were_written_are_measured_alike(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_set(tmp_path / "sets" / name)
    found = _measured("bm25", data=tmp_path / "sets", rankings=tmp_path / "out")
    again = _measured(tmp_path / "out" / "bm25", data=tmp_path / "sets", baselines=False)
    assert list(_values(again, str(tmp_path / "out" / "bm25")).values()) == list(_values(found, "bm25").values())
    assert [one.task for one in found.records if one.model == "bm25"][::4] == ["one", "two", "mean"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "bm25" / "one.queries.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == ["1", "2", "3"]
    mean = np.mean([row["ndcg@10"] for row in rows])
    assert mean == pytest.approx(_first(found, "bm25", "one"), abs=1e-5)
    one = _measured("bm25", data=tmp_path / "sets", tasks="ONE", baselines=False)
    assert {record.task for record in one.records} == {"one"}
    with pytest.raises(SlonikError, match=r"of several models.* name .*bm25"):
        _measured(tmp_path / "out", data=tmp_path / "sets", baselines=False)


def _first(found: Evaluation, model: str, task: str) -> float | None:
    return next(one.value for one in found.records if (one.model, one.task) == (model, task))


def test_a_run_file_counts_by_its_scores_and_says_what_does_not_fit(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    run = tmp_path / "other.trec"
    run.write_text("1 Q0 2 1 0.1 x\n1 Q0 1 2 0.9 x\n2 Q0 77 1 1 x\n9 Q0 1 1 1 x\n", encoding="utf-8")
    found = _measured(run, data=folder, baselines=False)
    assert _values(found, str(run))["ndcg@10"] == pytest.approx(1 / 3)
    said = "\n".join(found.notes)
    assert "1 lines are of queries" in said and "1 lines name documents" in said and "2 of 3 queries have no" in said
    run.write_text("1 Q0 1 1 0.9 x\n1 Q0 1 2 0.8 x\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="stands twice"):
        _measured(run, data=folder)


def test_ids_that_run_files_cannot_hold_are_refused_before_any_work(tmp_path: Path) -> None:
    task = RetrievalSet.of({"a b": "слон"}, {"q": "слон"}, {"q": {"a b": 1}})
    assert _measured("bm25", data=task, baselines=False).records[0].value == 1.0
    with pytest.raises(SlonikError, match="'a b' of custom has white space"):
        _measured("no-such-model", data=task, baselines=False, rankings=tmp_path / "out")


def test_the_passport_keeps_what_was_measured(task: RetrievalSet, checkpoint: Path, tmp_path: Path) -> None:
    found = _measured(checkpoint, data=task, passport=True, baselines=False)
    assert Passport.read(checkpoint).records == found.records[:4]


def test_texts_that_are_cut_are_counted(checkpoint: Path) -> None:
    long = RetrievalSet.of({"d": "слон " * 200, "e": "слон"}, {"q": "слон"}, {"q": {"d": 1}})
    found = _measured(checkpoint, data=long, baselines=False)
    assert any("1 of 2 documents are longer than 64 tokens: cut there" in note for note in found.notes)
    asked = RetrievalSet.of({"d": "слон", "e": "дом"}, {"q": "слон " * 200}, {"q": {"d": 1}})
    notes = _measured(checkpoint, data=asked, baselines=False).notes
    assert any("1 of 1 queries are longer than 64 tokens: cut there" in note for note in notes)
    with pytest.raises(SlonikError):
        _measured(checkpoint, data=long, baselines=False, long_texts="refuse", cache=False)


@pytest.mark.parametrize(
    ("models", "options", "sentence"),
    [
        ("bm25", {"data": None}, "there is nothing to retrieve from"),
        ("bm25", {"rerank": "hashing_300"}, "hashing_300 is no cross-encoder"),
        ("bm25", {"top": 0}, "top is 0"),
        ("bm25", {"tasks": "tyo"}, "did you mean"),
        ("bm25", {"long_texts": "cut"}, "long_texts is 'cut'"),
        ("hashing_300", {"long_texts": "average"}, "leave out --long-texts"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    task: RetrievalSet, models: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SlonikError, match=sentence):
        _measured(models, **{"data": task, "baselines": False, **options})


def test_a_classifier_is_no_reranker(task: RetrievalSet) -> None:
    model = Longest()
    model.target, model.labels = "single", ("да", "нет")  # type: ignore[assignment]
    with pytest.raises(SlonikError, match="longest gives single labels"):
        _measured("bm25", data=task, rerank=model)
