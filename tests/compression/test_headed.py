"""What a folder says of long texts stays with what is made of it, and does not stop the making."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik import models
from slonik.compression.headed import open_headed
from slonik.core.errors import SlonikError
from tests import tiny

LONG = "слон идёт домой " * 40


@pytest.mark.parametrize("doing", ["cut", "distilled"])
def test_a_folder_that_refuses_long_texts_cuts_them_while_it_teaches(doing: str, tmp_path: Path) -> None:
    source = models.load(tiny.checkpoint(tmp_path / "plain", "bert"), long_texts="refuse")
    folder = models.loading.save(source, tmp_path / "strict")
    opened = open_headed(folder, doing)
    assert opened.encoder.encode([LONG]).shape == (1, 32)
    assert "refuses texts over its length: here they are cut" in opened.left_out
    made = models.load(opened.save(tmp_path / "made"))
    with pytest.raises(SlonikError, match="long_texts truncate or average"):
        made.encode([LONG])
    with pytest.raises(SlonikError):  # what was given is as it was
        source.encode([LONG])


def test_weights_that_were_cut_are_one_sentence(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "m", "bert")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for doing in ("cut", "distilled"):
        with pytest.raises(SlonikError) as caught:
            open_headed(folder, doing)
        assert "model.safetensors" in str(caught.value) and "\n" not in str(caught.value)
