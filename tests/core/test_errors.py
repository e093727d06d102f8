"""A wrong name gets the right one suggested."""

from __future__ import annotations

import pytest

from slonik.core.errors import SlonikError, lookup


def test_did_you_mean() -> None:
    options = {"taylor": 1, "magnitude": 2}
    assert lookup("taylor", options, "criterion") == 1
    with pytest.raises(SlonikError, match=r"unknown criterion 'tailor'; did you mean 'taylor'\? \(known: magnitude, t"):
        lookup("tailor", options, "criterion")
