"""Files of word vectors are read as gensim reads them, whole or not at all; words are found however they are spelt."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from gensim.models import FastText, KeyedVectors
from gensim.models.fasttext import save_facebook_model

from slonik.core.errors import SlonikError
from slonik.data.natasha_package import has_natasha
from slonik.models.word_vectors import is_word_vectors, read_word_vectors, write_word_vectors

WORDS = ["слон", "лев", "ель", "стол", "кто-то", "Москва", "новое_слово"]


@pytest.fixture(scope="module")
def vectors() -> KeyedVectors:
    made = KeyedVectors(5)
    made.add_vectors(WORDS, np.random.default_rng(0).standard_normal((len(WORDS), 5)).astype(np.float32))
    return made


@pytest.mark.parametrize("name", ["w.vec", "w.txt", "w.bin", "w.vec.gz", "w.bin.gz", "no_ending"])
def test_word2vec_files_are_read_whatever_they_are_called(name: str, vectors: KeyedVectors, tmp_path: Path) -> None:
    path = tmp_path / name
    vectors.save_word2vec_format(str(path), binary=".bin" in name)
    found = read_word_vectors(path)
    assert list(found.words) == WORDS
    np.testing.assert_allclose(found.rows, vectors.vectors, atol=1e-5)
    assert found.notes == ()
    assert is_word_vectors(path)
    assert len(read_word_vectors(path, limit=2)) == 2


def test_a_file_without_a_first_line_is_read(vectors: KeyedVectors, tmp_path: Path) -> None:
    vectors.save_word2vec_format(str(tmp_path / "w.txt"), write_header=False)
    found = read_word_vectors(tmp_path / "w.txt")
    assert list(found.words) == WORDS
    np.testing.assert_allclose(found.rows, vectors.vectors, atol=1e-5)


def test_our_own_text_is_what_gensim_reads(vectors: KeyedVectors, tmp_path: Path) -> None:
    write_word_vectors(tmp_path / "w.vec", WORDS, vectors.vectors)
    again = KeyedVectors.load_word2vec_format(str(tmp_path / "w.vec"))
    assert again.index_to_key == WORDS
    np.testing.assert_allclose(again.vectors, vectors.vectors, rtol=1e-4)


def test_words_are_found_in_other_spellings(tmp_path: Path) -> None:
    write_word_vectors(tmp_path / "w.vec", ["ель", "еж", "Москва"], np.eye(3))
    found = read_word_vectors(tmp_path / "w.vec")
    assert [found.number(word) for word in ("Ель", "ёж", "Ёж", "Москва", "москва", "дуб")] == [0, 1, 1, 2, None, None]


def test_fasttext_makes_vectors_of_unknown_words(tmp_path: Path) -> None:
    model = FastText([["слон", "слонёнок", "лев", "стол"]] * 5, vector_size=6, min_count=1, bucket=50, epochs=1, seed=1)
    save_facebook_model(model, str(tmp_path / "ft.bin"))
    found = read_word_vectors(tmp_path / "ft.bin")
    assert sorted(found.words) == ["лев", "слон", "слонёнок", "стол"]
    assert found.number("слоники") is None
    np.testing.assert_allclose(found.vector("слоники"), model.wv.get_vector("слоники"), atol=1e-6)
    np.testing.assert_allclose(found.vector("слон"), model.wv["слон"], atol=1e-6)


def test_what_was_dropped_is_said(tmp_path: Path) -> None:
    path = tmp_path / "w.vec"
    path.write_text("3 2\nслон 1 0\nслон 0 1\nлев 1 1\n", encoding="utf-8")
    found = read_word_vectors(path)
    assert (len(found), found.notes) == (2, (f"{path}: 1 words stood there twice; the first vector of each was kept",))
    path.write_text("1 2\nслон 1 0\nлев 0 1\n", encoding="utf-8")
    assert "1 lines behind them were left" in read_word_vectors(path).notes[0]
    path.write_bytes(b"2 2\n" + "слон".encode()[:-1] + b" 1 0\n" + "лев 0 1\n".encode())
    assert "not whole UTF-8" in read_word_vectors(path).notes[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\x80\x04\x95kv", "is a pickle"),
        (b"PK\x03\x04abc", "is an archive"),
        ("просто текст\n".encode(), "holds no word vectors that are known here"),
        (b"0 5\n", "it holds nothing"),
        (b"1000000 300\nslon 1 2", "the one of line 2 has 2"),
        (b"1000000 2\nslon 1 2", "1,000,000 words in its first line, and 1 follow"),
        ("3 2\nслон 1 0\nлев 0 1\n".encode(), "it is cut short"),
        ("2 2\nслон 1 0\nлев 0 x\n".encode(), "line 3: 'x' is no number"),
        ("2 2\nслон 0,1 0,2\nлев 0,3 0,4\n".encode(), "line 2: '0,1' is no number"),
        ("2 3\nслон 1 0\nлев 0 1\n".encode(), "vectors of 3 numbers in its first line, and the one of line 2 has 2"),
        ("2 2 7 1\nслон 1 0\nлев 0 1\n".encode(), "line 1: 3 numbers, where the file's vectors have 2"),
        ("слон 1 0\nлев 1 2 3\nкит 1 2 3\n".encode(), "line 1: 2 numbers, where the file's vectors have 3"),
        ("2 2\nслон 1 0\n\nлев 0 1\n".encode(), "line 3 is blank"),
        ("\ufeffслон 1 0\nлев 0 1\n".encode(), "begins with a byte order mark"),
        ("2 2\nслон 1 0\nлев 0 1\n".encode("cp1251"), "2 of 2 words are not UTF-8"),
        ("2 2\nслон 1 0\nлев 0 1 5\n".encode(), "line 3: 3 numbers, where the file's vectors have 2"),
        ("2 2\nслон 1 0\nлев 5\n".encode(), "line 3: 1 numbers, where the file's vectors have 2"),
        ("слон 1 0\nлев 5\n".encode(), "line 2: 1 numbers, where the file's vectors have 2"),
        ("2 2\nслон 1 nan\nлев 0 1\n".encode(), "the first: 'слон'"),
        (b"\xba\x16\x4f\x2f\x0c\x00\x00\x00\x05", "cut short"),
    ],
)
def test_what_is_no_whole_file_is_refused_in_a_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "w.vec"
    path.write_bytes(content)
    with pytest.raises(SlonikError, match=sentence):
        read_word_vectors(path)


def test_a_binary_file_cut_short_and_a_damaged_archive(vectors: KeyedVectors, tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    vectors.save_word2vec_format(str(path), binary=True)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SlonikError, match="cut short"):
        read_word_vectors(path)
    packed = tmp_path / "w.vec.gz"
    packed.write_bytes(gzip.compress("2 2\nслон 1 0\nлев 0 1\n".encode())[:-12])
    with pytest.raises(SlonikError, match=r"w\.vec\.gz"):
        read_word_vectors(packed)
    with pytest.raises(SlonikError, match="holds no word vectors"):
        read_word_vectors(tmp_path / "nowhere.vec")


def test_a_binary_file_is_walked_to_its_end(vectors: KeyedVectors, tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    vectors.save_word2vec_format(str(path), binary=True)
    rows = path.read_bytes().partition(b"\n")[2]
    for first, sentence in ((b"9 5", "ends in word 8"), (b"7 50", "vectors of 50|ends in word"), (b"7 4", "not UTF-8")):
        path.write_bytes(first + b"\n" + rows)
        with pytest.raises(SlonikError, match=sentence):
            read_word_vectors(path)
    path.write_bytes(b"6 5\n" + rows)
    assert "announces 6 words" in read_word_vectors(path).notes[0]
    assert read_word_vectors(path, limit=2).notes == ()


def test_fasttext_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    model = FastText([["слон", "лев", "стол"]] * 5, vector_size=3, min_count=1, bucket=5, epochs=1, seed=1)
    save_facebook_model(model, str(tmp_path / "whole.bin"))
    content = (tmp_path / "whole.bin").read_bytes()
    path, vectors_end = tmp_path / "w.bin", len(content) - 3 * 3 * 4 - 17  # behind it: what training goes on from
    for size in (4, 50, 90, 100, vectors_end - 1):
        path.write_bytes(content[:size])
        with pytest.raises(SlonikError, match="cut short"):
            read_word_vectors(path)
    path.write_bytes(content[:8] + b"\xff\xff\xff\x7f" + content[12:])
    with pytest.raises(SlonikError, match="header of fastText"):
        read_word_vectors(path)


def test_navec_is_read_whole() -> None:
    if not has_natasha():
        pytest.skip("natasha is not installed")
    from slonik.models.opening import open_encoder

    found = read_word_vectors("navec", limit=2000)
    assert (len(found), found.dimension) == (2000, 300)
    word = found.words[1500]
    np.testing.assert_allclose(found.rows[1500], open_encoder("navec").encode([word])[0], atol=1e-6)
