"""Fixtures that every test may use; no test reads the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def _data_folder() -> Path | None:
    folder = Path(os.environ.get("SLONIK_TEST_DATA", _BESIDE))
    return folder if folder.is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `shared_data` where that folder is absent."""
    if _data_folder() is not None:
        return
    skip = pytest.mark.skip(reason="no development data folder (set SLONIK_TEST_DATA)")
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data folder: `$SLONIK_TEST_DATA`, or shared/data beside the checkout."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no development data folder (set SLONIK_TEST_DATA)")
    return folder
