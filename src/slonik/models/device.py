"""The device that a model is put on: the one asked for, checked, or the first GPU, or the processor."""

from __future__ import annotations

import torch

from slonik.core.errors import SlonikError


def chosen_device(device: str | torch.device | None = None) -> torch.device:
    """`device`, or where it is None the first GPU if there is one, else the processor.

    Raises:
        SlonikError: a name that torch does not know, or a device that this machine does not have.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise SlonikError(f"unknown device {str(device)!r}: use cpu, cuda or cuda:NUMBER") from None
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if chosen.type in there and (chosen.index or 0) >= there[chosen.type]:
        have = f"torch finds {there[chosen.type]} of that kind here" if there[chosen.type] else "torch finds none here"
        raise SlonikError(f"there is no device {str(device)!r} ({have}): use cpu, or leave the option out")
    return chosen
