"""Corpora given in Python: paths stay paths, texts and pairs become files that read as they were given."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.core.run import Steps, work_folder
from slonik.data.given import Given, names_of_files
from slonik.data.pairs import read_pairs
from slonik.data.readers import read_texts


def test_paths_stay_paths(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("один\n", encoding="utf-8")
    given = Given(tmp_path / "out")
    assert given.texts("corpus", tmp_path / "a.txt") == (str(tmp_path / "a.txt"),)
    assert given.texts("corpus", str(tmp_path / "a.txt")) == (str(tmp_path / "a.txt"),)
    assert given.texts("corpus", [str(tmp_path), "hub:a/b", "missing.jsonl.gz"]) == (
        str(tmp_path), "hub:a/b", "missing.jsonl.gz",
    )  # fmt: skip
    assert given.pairs("pairs", ["a.tsv"]) == ("a.tsv",)
    assert given.texts("corpus", []) == () and given.said == {}


def test_texts_and_pairs_read_as_they_were_given(tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = Given(out)
    texts = ["Первый текст.", "Второй,\nв две строки.", "третий\tс табуляцией"]
    files = given.texts("corpus", (text for text in texts))
    pairs = given.pairs("pairs", [("one two", "раз два"), ("a\tb", "в\nг")])
    given.write(Steps(work_folder(out)))
    assert list(read_texts(list(files))) == texts
    assert list(read_pairs(list(pairs))) == [("one two", "раз два"), ("a b", "в г")]
    assert given.told({"corpus": {"texts": list(files)}, "n": 1}) == {
        "corpus": {"texts": ["3 texts given in Python"]}, "n": 1,
    }  # fmt: skip


def test_texts_that_happen_to_be_names_of_files_are_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Файл").mkdir()
    texts = ["Файл", "readme.txt", "", "Открыть", "Закрыть", "слово " * 100, "д" * 300, "Ещё один."]
    given = Given(tmp_path / "out")
    files = given.texts("corpus", texts)
    given.write(Steps(work_folder(tmp_path / "out")))
    assert list(read_texts(list(files))) == [text.strip() for text in texts if text]


def test_files_and_texts_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("один\n", encoding="utf-8")
    with pytest.raises(SlonikError, match=r"files or texts, not both: 'Просто текст.' is no file"):
        Given(tmp_path / "out").texts("corpus", ["Просто текст.", tmp_path / "a.txt"])
    with pytest.raises(SlonikError, match="not both"):
        Given(tmp_path / "out").pairs("pairs", ["a.tsv", ("one", "один")])


def test_what_is_typed_is_never_a_text(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    right = [str(tmp_path / "corpus"), "hub:a/b", "s3://bucket/corpus"]
    assert names_of_files(right) == right
    with pytest.raises(SlonikError, match="corpus not found: corpsu; name files or folders"):
        names_of_files([*right, "corpsu"])
