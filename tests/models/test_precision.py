"""Which precision "auto" is, and what is said where bfloat16 is slow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slonik import models
from slonik.models.precision import precision_on
from slonik.train.train_config import TrainConfig
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without units for bfloat16."""
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr("slonik.core.progress._warned", set())


def test_auto_is_bf16_where_there_are_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: True)
    assert precision_on(CPU) == "bf16" and TrainConfig(max_steps=1).precision == "auto"


def test_without_units_auto_is_fp32_and_bf16_is_done_with_a_warning(
    slow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert precision_on(CPU) == "fp32" and precision_on(CPU, "fp16") == "fp16"
    assert capsys.readouterr().err == ""
    assert precision_on(CPU, "bf16") == "bf16"
    assert "several times slower than fp32; take auto" in capsys.readouterr().err


def test_autocast_is_float32_without_units_and_says_so(
    slow: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.checkpoint(tmp_path / "bert", "bert")
    assert models.load(folder, dtype="autocast").autocast is None
    assert "computes in float32" in capsys.readouterr().err
    models.load(folder, dtype="bfloat16")
    assert "several times slower" in capsys.readouterr().err
