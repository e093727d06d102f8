"""Fixtures that every test may use; no test reads the network.

What takes long to import is imported by fixtures: pytest-xdist reads this file in a process that runs no test.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slonik.core.errors import SlonikError
from tests import folders

if TYPE_CHECKING:
    from tests.browser import Browser

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def _data_folder() -> Path | None:
    folder = Path(os.environ.get("SLONIK_TEST_DATA", _BESIDE))
    return folder if folder.is_dir() else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What imports make stays to the end: looking through it for garbage again and again takes a fifth of their time.

    Collecting is off while modules are imported, and what is there then is not looked at any more.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `shared_data` where that folder is absent; expect what an old Transformers cannot build."""
    if tuple(map(int, importlib.metadata.version("transformers").split(".")[:2])) < (5, 17):
        # a ModernBERT of two layers cannot be cut to one there: `surgery._check_layer_kinds` says so in a sentence
        refused = pytest.mark.xfail(raises=SlonikError, strict=False, reason="needs transformers 5.17")
        for item in items:
            if "modernbert" in item.nodeid and ("compression" in item.nodeid or "adaptation" in item.nodeid):
                item.add_marker(refused)
    if _data_folder() is not None:
        return
    skip = pytest.mark.skip(reason="no development data folder (set SLONIK_TEST_DATA)")
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    folders.begin(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session", autouse=True)
def _no_test_waits_for_the_disk() -> Iterator[None]:
    """Only a power cut would tell whether content was flushed; tests/core/test_files.py holds when it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_texts_are_timed() -> Iterator[None]:
    """Speed that comes with other results is measured on ten of our own hundred sentences: no test reads a clock."""
    from slonik.evaluation.resources import measure

    whole = measure.own_sentences
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "own_sentences", lambda: whole()[:10])
        yield


@pytest.fixture(scope="session", autouse=True)
def _a_model_is_traced_once() -> Iterator[None]:
    from tests.exporting import kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.onnx.export", kept.export)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data folder: `$SLONIK_TEST_DATA`, or shared/data beside the checkout."""
    folder = _data_folder()
    if folder is None:
        pytest.skip("no development data folder (set SLONIK_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium (tests/browser.py); its tests are marked `browser`."""
    from tests import browser as chromium

    yield from chromium.begin(tmp_path_factory.mktemp("chromium"))
