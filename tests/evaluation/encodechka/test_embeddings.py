"""What decides a vector decides its place in the cache: a change of checkpoint or data gets nothing that is old."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.models import load
from tests import tiny
from tests.evaluation.encodechka.samples import write_data

TASKS = ["sts", "ne1"]  # a sentence task and a word task: two stores


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def _scored(folder: Path, data: Path, *, use_cache: bool = True, **options: object) -> EncoderScores:
    return evaluate(load(folder), data, tasks=TASKS, use_cache=use_cache, **options)  # type: ignore[arg-type]


def _values(found: EncoderScores) -> dict[tuple[str, str], float | None]:
    return {key: measured.record.value for key, measured in found.measured.items()}


def _fields(name: str, **changed: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        assert not changed.keys() - content.keys() and any(content[key] != value for key, value in changed.items())
        (folder / name).write_text(json.dumps(content | changed), encoding="utf-8")

    return change


def _other_spelling(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    replaced = {"type": "Replace", "pattern": {"String": "о"}, "content": "а"}
    content["normalizer"] = {"type": "Sequence", "normalizers": [content["normalizer"], replaced]}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


_CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_fields("config.json", num_attention_heads=2), id="4 heads to 2"),
        pytest.param(_fields("config.json", hidden_act="relu"), id="gelu to relu"),
        pytest.param(_fields("1_Pooling/config.json", **_CLS), id="pooling"),
        pytest.param(_other_spelling, id="tokenizer"),
    ],
)
def test_a_checkpoint_with_one_file_changed_is_encoded_anew(
    change: Callable[[Path], None], data: Path, tmp_path: Path
) -> None:
    folder = tiny.checkpoint(tmp_path / "model", "bert")
    first = _scored(folder, data)
    assert first.encoded and not first.reused
    change(folder)
    changed = _scored(folder, data)
    assert changed.encoded == first.encoded and not changed.reused
    assert _values(changed) == _values(_scored(folder, data, use_cache=False))
    assert _scored(folder, data).encoded == 0


def test_a_data_file_changed_under_its_name_is_read_anew(tmp_path: Path) -> None:
    folder, data = tiny.checkpoint(tmp_path / "model", "bert"), write_data(tmp_path / "data")
    first = _scored(folder, data)
    file = data / "encodechka" / "stsb_dev.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([lines[0], *reversed(lines[1:])]).replace("о", "а"), encoding="utf-8")
    changed = _scored(folder, data)
    assert changed.encoded > 0
    key = ("fixed", "sts")
    assert changed.measured[key].record.hashes["data"] != first.measured[key].record.hashes["data"]
    assert _values(changed) == _values(_scored(folder, data, use_cache=False))


def test_the_same_weights_under_another_name_come_from_the_cache(data: Path, tmp_path: Path) -> None:
    first = _scored(tiny.checkpoint(tmp_path / "one", "bert"), data)
    assert _scored(tiny.checkpoint(tmp_path / "two", "bert"), data).encoded == 0 < first.encoded
