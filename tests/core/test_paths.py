"""Names of folders for several models are different and as short as that allows."""

from __future__ import annotations

import pytest

from slonik.core.paths import own_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["majority", "runs/a/model", "b"], ["majority", "model", "b"]),
        (["runs/a/model", "runs/b/model", "c"], ["a-model", "b-model", "c"]),
        (["/x/a/m", "/y/a/m"], ["x-a-m", "y-a-m"]),
        (["m", "m", "m-1"], ["m", "m-2", "m-1"]),
        (["m", "x/m"], ["m", "x-m"]),
        (["..", "/"], ["model", "model-1"]),
        ([], []),
    ],
)
def test_names_are_different_and_short(paths: list[str], names: list[str]) -> None:
    assert own_names(paths) == names
    assert len(set(names)) == len(names)
