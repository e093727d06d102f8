"""A device that is not there is refused in a sentence before a model is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slonik import models
from slonik.core.errors import SlonikError
from slonik.models.device import chosen_device
from tests import tiny


def test_the_processor_and_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device(None) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda", "finds none here"),
        ("cuda:5", "finds none here"),
        ("gpu", "unknown device 'gpu'"),
        ("cuda:x", "unknown"),
    ],
)
def test_what_is_not_there_is_refused(
    device: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    folder = tiny.checkpoint(tmp_path / "model")
    with pytest.raises(SlonikError, match=sentence):
        models.load(folder, device=device)


def test_a_number_beyond_the_last_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SlonikError, match="finds 2 of that kind"):
        chosen_device("cuda:2")
