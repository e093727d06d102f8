"""encodechka end to end on small data: records, averages, missing tasks, cache, both protocols, comparisons."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.evaluation.encodechka.comparison import compare
from slonik.evaluation.encodechka.readers import read_labelled, read_pairs
from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.evaluation.encodechka.tasks import AVERAGES, TASKS
from slonik.models import TorchEncoder, load
from slonik.models.baselines import HashingEncoder
from tests import tiny
from tests.evaluation.encodechka.samples import TOPICS, write_data


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    return load(tiny.checkpoint(tmp_path_factory.mktemp("model") / "m", "bert"))


@pytest.fixture(scope="module")
def whole(data: Path, tiny_encoder: TorchEncoder) -> EncoderScores:
    return evaluate(tiny_encoder, data, use_cache=False)


def _values(found: EncoderScores) -> dict[tuple[str, str], float | None]:
    return {key: measured.record.value for key, measured in found.measured.items() if key[1] != "speed"}


def test_there_is_one_record_per_task_variant_and_average(whole: EncoderScores) -> None:
    keys = [(record.task, record.variant, record.model, record.metric) for record in whole.records]
    assert len(set(keys)) == len(keys) == 2 * (len(TASKS) + len(AVERAGES))
    for record in whole.records:
        assert record.suite == "encodechka"
        assert record.value is not None and record.low is not None and record.high is not None
        assert record.low - 0.02 <= record.value <= record.high + 0.02, record.task
        assert record.n and record.seconds is not None and set(record.hashes) == {"weights", "data", "protocol"}
        if record.task != "speed":
            assert -1 <= record.value <= 1
    assert whole.missing == {}


def test_averages_are_plain_means(whole: EncoderScores) -> None:
    values = _values(whole)
    for variant in ("compatible", "fixed"):
        for name, tasks in AVERAGES.items():
            assert values[variant, name] == pytest.approx(np.mean([values[variant, task] for task in tasks]))


def test_compatible_is_the_maximum_and_names_what_won(whole: EncoderScores) -> None:
    for task, candidates in (("sts", 6), ("nli", 6), ("sa", 12), ("ti", 6), ("ic", 12)):
        record = whole.measured["compatible", task].record
        assert len(record.detail["poolings"]) == candidates  # cls, mean, pooler; raw and normalised
        assert record.value == pytest.approx(max(record.detail["poolings"].values()), abs=1e-6)
        assert record.detail["selected_on"] == "test"
    assert whole.measured["fixed", "sts"].record.detail["pooling"] == "mean_norm"
    assert "folds" in whole.measured["fixed", "ic"].record.detail["selected_on"]


def test_fixed_leaves_out_classes_that_training_never_saw(whole: EncoderScores) -> None:
    compatible, fixed = (whole.measured[variant, "ic"].record for variant in ("compatible", "fixed"))
    assert compatible.n == 49 and fixed.n == 48
    assert fixed.detail["unseen_classes"] == ["кухня"]


def test_figures_are_those_of_scipy_and_sklearn(whole: EncoderScores, data: Path, tiny_encoder: TorchEncoder) -> None:
    root = data / "encodechka"
    pairs = read_pairs(root / "stsb_dev.csv", TASKS["sts"])
    first, second = (tiny_encoder.encode_poolings(t, ["mean"])["mean"] for t in (pairs.first, pairs.second))
    dots = (first * second).sum(axis=1)
    expected = spearmanr([float(t) for t in pairs.targets], dots).statistic
    assert whole.measured["compatible", "sts"].record.detail["poolings"]["mean"] == pytest.approx(expected, abs=1e-5)
    labels = np.array(read_pairs(root / "xnli_ru.csv", TASKS["nli"]).targets)
    folds = KFold(3, shuffle=True, random_state=1)
    predicted = cross_val_predict(LogisticRegression(max_iter=10_000), dots[:, None], labels, cv=folds)
    nli = whole.measured["compatible", "nli"].record.detail["poolings"]["mean"]
    assert nli == pytest.approx((predicted == labels).mean(), abs=1e-6)
    train, test = (read_labelled(root / f"toxic_{part}.csv", "text", "toxic") for part in ("train", "test"))
    vectors = [tiny_encoder.encode_poolings(part.texts, ["mean"])["mean"] for part in (train, test)]
    model = LogisticRegression(max_iter=10_000, tol=1e-8).fit(vectors[0], train.labels)
    area = roc_auc_score(np.array(test.labels) == "1", model.predict_proba(vectors[1])[:, 1])
    assert whole.measured["compatible", "ti"].record.detail["poolings"]["mean__lr"] == pytest.approx(area, abs=2e-3)


def test_a_second_run_takes_all_vectors_from_the_cache_and_finds_the_same(
    whole: EncoderScores, data: Path, tiny_encoder: TorchEncoder
) -> None:
    first = evaluate(tiny_encoder, data)
    second = evaluate(tiny_encoder, data)
    assert first.encoded > 0 and second.encoded == 0 and second.reused == first.encoded + first.reused
    assert second.embedding_seconds == 0
    assert _values(first) == _values(second)
    assert _values(first) == pytest.approx(_values(whole), abs=1e-6)


def test_the_cache_tells_weights_prefixes_and_lengths_apart(data: Path, tmp_path: Path) -> None:
    encoder = load(tiny.checkpoint(tmp_path / "m", "bert"))
    other = load(tiny.checkpoint(tmp_path / "o", "bert", seed=1))
    run = {"tasks": ["sts", "ne1"], "variants": ["compatible"]}
    evaluate(encoder, data, **run)
    assert evaluate(other, data, **run).encoded > 0
    assert evaluate(encoder, data, prefix="q: ", **run).encoded > 0
    shorter = copy.copy(encoder)
    shorter.sentence = replace(encoder.sentence, prefixes={"q": "p: "}, default_prefix="q")
    assert evaluate(shorter, data, tasks=["sts"]).encoded > 0
    assert evaluate(encoder, data, **run).encoded == 0


def test_a_damaged_cache_is_encoded_again(data: Path, tiny_encoder: TorchEncoder, tmp_path: Path) -> None:
    import os

    first = evaluate(tiny_encoder, data, tasks=["sts"])
    chunks = list((Path(os.environ["SLONIK_CACHE"]) / "embeddings").rglob("*.arrays"))
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(chunk.read_bytes()[:100])
    second = evaluate(tiny_encoder, data, tasks=["sts"])
    assert second.encoded == first.encoded
    assert _values(first) == _values(second)


def test_missing_tasks_are_named_and_their_averages_left_out(tmp_path: Path) -> None:
    data = write_data(tmp_path, leave_out=("xnli_ru.csv", "inappropriate_train.csv", "rudrec.json"))
    found = evaluate(HashingEncoder("h", 64), data, variants=["compatible"])
    assert set(found.missing) == {"nli", "ia", "ne2"}
    assert found.missing["ia"] == ("inappropriate_train.csv",)
    tasks = {record.task for record in found.records}
    assert "mean_s5" in tasks and not tasks & {"mean_s", "mean_sw", "nli", "ia", "ne2"}


def test_no_data_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="slonik fetch encodechka"):
        evaluate(HashingEncoder("h", 64), tmp_path)


def test_unknown_tasks_and_variants_are_refused(data: Path) -> None:
    with pytest.raises(SlonikError, match="did you mean 'sts'"):
        evaluate(HashingEncoder("h", 64), data, tasks=["stss"])
    with pytest.raises(SlonikError, match="unknown variant"):
        evaluate(HashingEncoder("h", 64), data, variants=["mended"])


def test_a_file_that_is_not_the_published_one_is_noted(whole: EncoderScores) -> None:
    assert any("stsb_dev.csv is not the published file" in note for note in whole.notes)


class Oracle:
    """Knows the topic of a text: one axis per topic."""

    name, dimension = "oracle", len(TOPICS) + 1

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        english = {"weather": 0, "music": 1, "alarm": 2, "news": 3}
        topics = [
            next((i for i, topic in enumerate(TOPICS) if topic in t), english.get(t.split()[0], 4)) for t in texts
        ]
        return np.eye(self.dimension, dtype=np.float32)[topics]

    def describe(self) -> dict[str, object]:
        return {"weights_hash": "oracle"}

    def identity(self) -> str:
        return self.name


class Constant(Oracle):
    """Says the same of every text."""

    name = "constant"

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        return np.ones((len(texts), self.dimension), dtype=np.float32)


def test_an_oracle_scores_one_and_a_constant_scores_chance(data: Path) -> None:
    tasks = ["nli", "ti", "ia", "ic", "icx"]
    oracle = evaluate(Oracle(), data, tasks=tasks)
    assert oracle.measured["fixed", "ic"].record.value == oracle.measured["fixed", "icx"].record.value == 1
    assert oracle.measured["compatible", "nli"].record.value == oracle.measured["compatible", "ti"].record.value == 1
    constant = evaluate(Constant(), data, tasks=tasks)
    assert constant.measured["compatible", "ti"].record.value == 0.5
    assert constant.measured["fixed", "ic"].record.value == 0.25


def test_prefixes_reach_sentences_and_words_as_the_design_says(data: Path) -> None:
    seen: set[tuple[bool, str | None]] = set()

    class Listening(Oracle):
        def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
            seen.add((" " in texts[0], prefix))
            return super().encode(texts, prefix=prefix)

    evaluate(Listening(), data, tasks=["sts", "ne1"])
    assert seen == {(True, None), (False, "")}
    seen.clear()
    evaluate(Listening(), data, tasks=["sts", "ne1"], prefix="p: ")
    assert seen == {(True, "p: "), (False, "p: ")}


def test_sentences_are_cut_at_128_tokens_and_encoded_once(data: Path, tiny_encoder: TorchEncoder) -> None:
    calls: list[tuple[int, list[str]]] = []

    class Counting(TorchEncoder):
        def encode_poolings(self, texts: Sequence[str], poolings: Sequence[str], *, prefix: str | None = None) -> dict:
            calls.append((self.sentence.max_length, list(texts)))
            return super().encode_poolings(texts, poolings, prefix=prefix)

    encoder = Counting(tiny_encoder.model, tiny_encoder.tokenizer, tiny_encoder.sentence, name="counting")
    evaluate(encoder, data, tasks=["sts", "pi", "ic", "icx"], use_cache=False)
    texts = [text for _, chunk in calls for text in chunk]
    assert len(texts) == len(set(texts))
    assert {length for length, _ in calls} == {128}
    assert encoder.sentence.max_length == tiny_encoder.sentence.max_length


def test_a_comparison_is_paired_and_covers_tasks_and_averages(whole: EncoderScores, data: Path) -> None:
    other = evaluate(HashingEncoder("h", 64), data)
    records = {(r.task, r.variant): r for r in compare([whole, other])}
    difference = records["mean_s", "compatible"]
    a, b = (e.measured["compatible", "mean_s"].record.value for e in (whole, other))
    assert a is not None and b is not None
    assert difference.value == pytest.approx(b - a)
    assert difference.low is not None and difference.high is not None and difference.low <= b - a <= difference.high
    assert difference.detail["model"] == "h" and difference.detail["against"] == whole.model
    assert difference.metric == "difference" and difference.model not in (whole.model, other.model)
    assert ("sts", "fixed") in records
    same = compare([whole, whole])
    assert all(r.value == r.low == r.high == 0 and r.detail["p_value"] == 1 for r in same)
    assert compare([whole]) == []


def test_speeds_are_compared_in_turns_or_not_at_all(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = HashingEncoder("first", 16), HashingEncoder("second", 16)
    alone = [evaluate(encoder, data, tasks=["speed"]) for encoder in (first, second)]
    assert compare(alone) == []
    times = iter(range(10**6))  # each look at the clock is a millisecond later: equal work takes equal time
    monkeypatch.setattr("slonik.evaluation.resources.in_turns.time.perf_counter", lambda: next(times) / 1000)
    monkeypatch.setattr("slonik.evaluation.resources.in_turns.time.process_time", lambda: next(times) / 1000)
    beside = evaluate(second, data, tasks=["speed"], beside=first)
    found = compare([alone[0], beside])
    assert {record.variant for record in found} == {"compatible", "fixed"}
    for record in found:
        assert record.detail["in_turns"] and record.detail["clock"] == "wall"
        assert record.value == pytest.approx(0.0) and record.low < 0 < record.high  # type: ignore[operator]
        assert record.detail["p_value"] == 1


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "size", "published"),
    [
        ("hashing_300", 300, {"sts": 0.6095, "pi": 0.4795, "ti": 0.7123, "ic": 0.5056, "icx": 0.0506}),
        ("hashing_1000", 1000, {"sts": 0.6270, "pi": 0.4876, "ti": 0.7724}),
    ],
)
def test_hashing_rows_are_those_of_the_original_code(
    name: str, size: int, published: dict[str, float], shared_data: Path
) -> None:
    found = evaluate(HashingEncoder(name, size), shared_data, tasks=list(published), variants=["compatible"])
    for task, value in published.items():
        assert found.measured["compatible", task].record.value == pytest.approx(value, abs=0.003), task
