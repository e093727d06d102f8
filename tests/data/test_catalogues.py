"""The demo's corpus: found in installed packages by their file lists, cleaned, each Russian text once."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path, PurePosixPath

import pytest

from slonik.core.errors import MissingExtra
from slonik.data.catalogues import DEMO_PACKAGES, DemoPackage, demo_pairs, installed_catalogues
from slonik.data.sampling import normalised
from tests.data.test_pairs import compiled_catalogue

MESSAGES = {
    "_Open the file": "_Открыть файл",
    "Open a file": "Открыть файл",
    "label_my_page": "Моя страница портала",
    "%s of %s in %s, as ever": "%s из %s в %s, как всегда",
    "Found {count} records": "Найдено {count} записей",
    "a = b + c * (d - e)": "а = б + в * (г - д)",
    "Save": "Сохранить",
}


class _File(PurePosixPath):
    """One line of a package's file list."""

    folder = Path()

    def locate(self) -> Path:
        return self.folder / self


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with one package that carries a Russian, a German and a JSON catalogue."""
    names = ["x/ru/LC_MESSAGES/a.mo", "x/de/LC_MESSAGES/a.mo", "x/ru/LC_MESSAGES/a.json", "x/ru_RU/LC_MESSAGES/gone.mo"]
    for name in names[:3]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(compiled_catalogue(MESSAGES))
    monkeypatch.setattr(_File, "folder", tmp_path)

    def files(name: str) -> list[_File]:
        if name != "Django":
            raise importlib.metadata.PackageNotFoundError(name)
        return [_File(name) for name in names]

    monkeypatch.setattr(importlib.metadata, "files", files)


@pytest.mark.usefixtures("package")
def test_only_russian_catalogues_that_exist_are_read() -> None:
    assert [(package.name, [path.name for path in paths]) for package, paths in installed_catalogues().items()] == [
        ("Django", ["a.mo"])
    ]


@pytest.mark.usefixtures("package")
def test_pairs_are_texts_and_each_russian_side_comes_once() -> None:
    assert demo_pairs() == [
        ("Open the file", "Открыть файл"), ("Found {count} records", "Найдено {count} записей"), ("Save", "Сохранить"),
    ]  # fmt: skip
    assert demo_pairs(min_words=2) == demo_pairs()[:2]


def test_without_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slonik.data.catalogues.DEMO_PACKAGES", (DemoPackage("no-such-package", "", ""),))
    with pytest.raises(MissingExtra, match=r"slonik\[demo\]"):
        demo_pairs()


def test_the_real_packages_give_thousands_of_different_pairs() -> None:
    if len(installed_catalogues()) < len(DEMO_PACKAGES):
        pytest.skip("the extra [demo] is not installed")
    pairs = demo_pairs()
    assert len(pairs) > 9_000
    assert len({normalised(russian) for _, russian in pairs}) == len(pairs)
    assert len(demo_pairs(min_words=3)) > 5_500
