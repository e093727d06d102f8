"""Files of numbers by numpy alone: what is stored is read again, by the library of that name too, and lies aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from slonik.core.errors import SlonikError
from slonik.text.tensors import read_arrays, read_metadata, stored


def test_what_is_stored_is_read_again_and_lies_at_multiples_of_its_size(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    tensors = {
        "codes": draw.integers(-127, 127, size=(7, 3)).astype(np.int8),
        "a+b": draw.normal(size=(5, 4)).astype(np.float32).T,  # not contiguous
        "half": draw.normal(size=3).astype(np.float16),
        "signs": draw.integers(0, 255, size=5).astype(np.uint8),
        "places": np.arange(3),
    }
    content, places = stored(tensors, {"said": "слон"})
    path = tmp_path / "numbers.safetensors"
    path.write_bytes(content)
    assert read_metadata(path) == {"format": "pt", "said": "слон"}
    for found in (read_arrays(path), load_file(path)):
        assert set(found) == set(tensors)
        for name, value in tensors.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)
    for name, (start, size) in places.items():
        assert start % tensors[name].itemsize == 0
        assert content[start : start + size] == np.ascontiguousarray(tensors[name]).tobytes()
    path.write_bytes(content[:-1])
    with pytest.raises(SlonikError, match="damaged or missing"):
        read_arrays(path)
