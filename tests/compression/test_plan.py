"""Plans are JSON that reads back the same, and bad ones are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.compression.plan import FILE_NAME, Plan, keep_layers, whole
from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder
from slonik.models.loading import load
from tests.compression.families import some_plan, tiny
from tests.tiny.models import checkpoint


def test_round_trip(tmp_path: Path) -> None:
    plan = some_plan(tiny("bert"), hidden=True).model_copy(update={"tokens": (3, 1, 0)})
    assert plan.write(tmp_path).name == FILE_NAME
    assert Plan.read(tmp_path) == plan == Plan.read(tmp_path / FILE_NAME)


def test_parent_is_the_hash_that_passports_name(tmp_path: Path) -> None:
    encoder: TorchEncoder = load(checkpoint(tmp_path / "model", "bert"))
    assert whole(encoder.model).parent == encoder.weights_hash()


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="there is no plan"):
        Plan.read(tmp_path)
    path = tmp_path / FILE_NAME
    for content in ("{", "[]", '{"family": "bert", "layers": [], "heads": [], "ffn": []}'):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(SlonikError, match="is not a plan"):
            Plan.read(tmp_path)


def test_keeping_layers_that_are_not_there() -> None:
    plan = whole(tiny("bert"), with_parent=False)
    with pytest.raises(SlonikError, match=r"no layer 5 to keep: layers are 0, 1, 2"):
        keep_layers(plan, [1, 5])
    assert keep_layers(plan, [2, 0, 2]).layers == (0, 2)
