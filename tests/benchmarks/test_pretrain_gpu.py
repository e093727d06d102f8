"""The GPU benchmark runs on any machine at its smallest size, and says what it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import pretrain_gpu


def test_the_smallest_size_measures_everything_on_a_processor(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    pretrain_gpu.main(["--tiny", "--device", "cpu", "--only", "bert:plain", "--json", str(out)])
    records = {record["metric"]: record for record in json.loads(out.read_text())}
    assert {"tokens_per_second", "flops_utilisation", "loader_tokens_per_second", "memory_told_gib"} <= set(records)
    assert all(record["value"] > 0 and record["task"] == "bert" for record in records.values())
    kernels = records["tokens_per_second"]["detail"]["kernels"]
    assert 0.5 < sum(kernels.values()) <= 1.0 and any("mm" in name for name in kernels)


def test_what_does_not_fit_into_the_minutes_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert pretrain_gpu.main(["--tiny", "--minutes", "0", "--only", "bert:plain"]) == []
    assert "bert:plain: left out, 0 minutes are over" in capsys.readouterr().out
