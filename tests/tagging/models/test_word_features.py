"""The quantised table gives the vectors that its codes say, with zeros for unknown words, and comes back from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.data.natasha_package import has_natasha
from slonik.tagging.models.word_features import WORDS_FILE, WordTable, navec_table, word_table
from tests.tagging.models.toys import table


def test_vectors_are_the_codes_one_after_another() -> None:
    codes = np.arange(2 * 3 * 2, dtype=np.float32).reshape(2, 3, 2)
    small = WordTable(["да", "еще"], codes, np.array([[0, 2], [1, 0]], dtype=np.uint8))
    assert small.dimension == 4
    found = small.vectors(torch.tensor([1, 0, small.unknown]))
    assert found.tolist() == [[2, 3, 6, 7], [0, 1, 10, 11], [0, 0, 0, 0]]
    assert [small.number(word) for word in ("ДА", "Ещё", "нет")] == [0, 1, small.unknown]


def test_table_survives_disk(tmp_path: Path) -> None:
    before = table()
    before.save(tmp_path)
    after = WordTable.open(tmp_path)
    numbers = torch.arange(before.unknown + 1)
    assert after.words == before.words and after.content_hash() == before.content_hash()
    assert torch.equal(before.vectors(numbers), after.vectors(numbers))


def test_damage_is_named(tmp_path: Path) -> None:
    table().save(tmp_path)
    (tmp_path / WORDS_FILE).write_text("одно\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="1 words for"):
        WordTable.open(tmp_path)
    (tmp_path / WORDS_FILE).unlink()
    with pytest.raises(SlonikError, match="missing or damaged"):
        WordTable.open(tmp_path)


def test_navec_is_unpacked_as_its_own_library_does() -> None:
    navec = pytest.importorskip("navec")
    if not has_natasha():
        pytest.skip("natasha's files are not installed")
    from slonik.models.baselines import navec_path

    ours, theirs = navec_table(), navec.Navec.load(navec_path())
    assert (len(ours.words), ours.dimension) == (250_000, 300)
    for word in ("хакер", "windows", "Уязвимость"):
        assert np.array_equal(ours.vectors(torch.tensor([ours.number(word)]))[0].numpy(), theirs[word.lower()])


def test_vectors_of_a_file_stand_in_the_place_of_navec(tmp_path: Path) -> None:
    path = tmp_path / "w.vec"
    path.write_text("4 3\nслон 1 2 3\nМосква 0 1 0\nмосква 9 9 9\nеж 4 5 6\n", encoding="utf-8")
    table = word_table(path)
    assert table.words == ("слон", "москва", "еж")
    numbers = torch.tensor([table.number(word) for word in ("Слон", "ёж", "кит", "МОСКВА")])
    expected = [[1, 2, 3], [4, 5, 6], [0, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(table.vectors(numbers).numpy(), np.array(expected, np.float32))
    table.save(tmp_path)
    again = WordTable.open(tmp_path)
    assert again.content_hash() == table.content_hash()
    np.testing.assert_array_equal(again.vectors(numbers).numpy(), expected)
    path.write_text("1 2\nлев 1 2\n", encoding="utf-8")
    assert word_table(path).words == ("лев",)  # another file under the same name is read anew
