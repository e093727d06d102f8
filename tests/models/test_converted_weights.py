"""Pickled weights: refused with the way out named, converted as weights alone where asked, never unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from slonik import models
from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.models.kinds import converting_weights, resolve
from slonik.text.pipeline import Dense, Normalize, Pooling
from slonik.text.sentence_config import SentenceConfig
from tests import tiny

TEXTS = tiny.TEXTS[:4]


@pytest.fixture
def pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """A checkpoint whose weights, and those of its Dense, are .bin files only; and its vectors."""
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))
    folder = tiny.checkpoint(tmp_path / "pickled")
    weight = np.random.default_rng(0).standard_normal((12, 32)).astype(np.float32)
    SentenceConfig((Pooling(("mean",)), Dense(weight), Normalize()), max_length=64).write(folder, 32)
    vectors = models.load(folder, device="cpu").encode(TEXTS)
    for place in (folder, folder / "2_Dense"):
        torch.save(load_file(place / "model.safetensors"), place / "pytorch_model.bin")
        (place / "model.safetensors").unlink()
    return folder, vectors


def test_they_are_read_only_where_asked(pickled: tuple[Path, Any]) -> None:
    folder, expected = pickled
    with pytest.raises(SlonikError, match=r"only pytorch_model\.bin: .*--convert-weights"):
        models.load(folder, device="cpu")
    found = models.load(folder, device="cpu", convert_weights=True)
    np.testing.assert_array_equal(found.encode(TEXTS), expected)
    assert found.name == str(folder) and found.source is not None and not list(found.source.rglob("*.bin"))
    with converting_weights():
        assert resolve(folder) == found.source  # made once
    assert resolve(folder) == folder


def test_a_changed_file_is_converted_anew(pickled: tuple[Path, Any]) -> None:
    folder, _ = pickled
    first = resolve(folder, convert_weights=True)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({name: tensor * 2 for name, tensor in state.items()}, folder / "pytorch_model.bin")
    assert resolve(folder, convert_weights=True) != first


def test_shards_are_joined(pickled: tuple[Path, Any]) -> None:
    folder, expected = pickled
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = list(state)
    parts = {"pytorch_model-1.bin": names[:10], "pytorch_model-2.bin": names[10:]}
    for file, some in parts.items():
        torch.save({name: state[name] for name in some}, folder / file)
    index = {"weight_map": {name: file for file, some in parts.items() for name in some}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    found = models.load(folder, device="cpu", convert_weights=True)
    np.testing.assert_array_equal(found.encode(TEXTS), expected)


class Attack:
    """What a pickle may hold: a call."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("attacked"),))


@pytest.mark.parametrize("content", ["attack", "noise", "list"])
def test_what_is_more_than_weights_is_not_read(
    pickled: tuple[Path, Any], content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = pickled
    monkeypatch.chdir(folder.parent)
    path = folder / "pytorch_model.bin"
    if content == "list":
        torch.save([torch.zeros(3)], path)
    else:
        path.write_bytes(pickle.dumps(Attack()) if content == "attack" else b"no weights")
    with pytest.raises(SlonikError, match=r"pytorch_model\.bin holds"):
        models.load(folder, device="cpu", convert_weights=True)
    assert not Path("attacked").exists()
    assert not list((folder.parent / "cache" / "converted").glob("*"))


def test_nothing_is_written_outside_the_cache(pickled: tuple[Path, Any]) -> None:
    folder, _ = pickled
    lines = json.loads((folder / "modules.json").read_text())
    lines[2]["path"] = "../2_Dense"
    (folder / "modules.json").write_text(json.dumps(lines))
    (folder / "2_Dense").rename(folder.parent / "2_Dense")
    with pytest.raises(SlonikError, match="outside the folder"):
        resolve(folder, convert_weights=True)
    assert not list((folder.parent / "cache" / "converted").glob("*"))


def test_commands_take_the_flag_for_themselves_alone(pickled: tuple[Path, Any], tmp_path: Path) -> None:
    folder, expected = pickled
    texts, out = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("\n".join(TEXTS), encoding="utf-8")
    command = ["encode", str(folder), str(texts), "--out", str(out)]
    assert CliRunner().invoke(build_app(), command).exit_code != 0
    assert CliRunner().invoke(build_app(), [*command, "--convert-weights"]).exit_code == 0
    np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
    assert CliRunner().invoke(build_app(), command).exit_code != 0
