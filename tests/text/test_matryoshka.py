"""Leading dimensions: cut, brought to length one where whole vectors are, refused or told of where nobody measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slonik.core import progress
from slonik.core.errors import SlonikError
from slonik.core.identity import checkpoint_identity
from slonik.text.matryoshka import check_dimensions, leading, measured_cuts, note_cuts, shortened

VECTORS = np.asarray([[3.0, 4.0, 12.0], [0.0, 0.0, 1.0]], dtype=np.float32)


def test_leading_dimensions_have_length_one_where_whole_vectors_have() -> None:
    np.testing.assert_allclose(leading(VECTORS, 2, normalize=True), [[0.6, 0.8], [0.0, 0.0]], atol=1e-6)
    np.testing.assert_array_equal(leading(VECTORS, 2, normalize=False), VECTORS[:, :2])
    for whole in (None, 3, 9):
        assert leading(VECTORS, whole, normalize=True) is VECTORS


def test_more_dimensions_than_there_are_and_none_are_refused() -> None:
    for wrong in (0, -1, 4):
        with pytest.raises(SlonikError, match=f"dimensions is {wrong}, and small has 3: use 1 to 3"):
            check_dimensions(wrong, 3, "small")
    for no_number in (1.5, True, "2", float("nan"), None):
        with pytest.raises(SlonikError, match=f"dimensions is {no_number!r}, and small has 3"):
            check_dimensions(no_number, 3, "small")  # type: ignore[arg-type]
    check_dimensions(np.int64(2), 3, "small")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "known"),
    [({}, ()), ({"matryoshka_dimensions": [64, 128]}, (128, 64)), ({"is_matryoshka": True}, None)],
)
def test_a_folder_says_which_cuts_were_measured(tmp_path: Path, config: dict[str, object], known: object) -> None:
    assert measured_cuts(tmp_path) == ()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert measured_cuts(tmp_path) == known


def test_measured_cuts_are_noted_and_make_no_other_checkpoint(tmp_path: Path) -> None:
    note_cuts(tmp_path, [64])
    assert not any(tmp_path.iterdir())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    before = checkpoint_identity(tmp_path)
    note_cuts(tmp_path, [64])
    note_cuts(tmp_path, [128, 64])
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "model_type": "bert", "matryoshka_dimensions": [128, 64],
    }  # fmt: skip
    assert checkpoint_identity(tmp_path) == before
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "other"}))
    assert checkpoint_identity(tmp_path) != before


class _Encoder:
    name, dimension = "small", 3
    dimensions: int | None = None

    def __init__(self, source: Path) -> None:
        self.source = source


def test_a_cut_that_nobody_measured_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress._warned.clear()
    (tmp_path / "config.json").write_text(json.dumps({"matryoshka_dimensions": [2]}))
    assert shortened(_Encoder(tmp_path), 2).dimensions == 2
    assert shortened(_Encoder(tmp_path), None).dimensions is None
    assert capsys.readouterr().err == ""
    assert shortened(_Encoder(tmp_path), 1).dimensions == 1
    assert "does not say that its first 1 dimensions are worth anything alone (measured are 2)" in (
        capsys.readouterr().err
    )


def test_what_gives_whole_vectors_alone_is_not_cut() -> None:
    class Hashed:
        name, dimension = "hashing_300", 300

    with pytest.raises(SlonikError, match="hashing_300 gives whole vectors alone"):
        shortened(Hashed(), 100)
