"""Vectors of one's own: the same twice, read again as they were trained, and asked on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import Word2Vec
from gensim.models.fasttext import load_facebook_vectors

from slonik.cli.main import main
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.models.word_vectors import read_word_vectors
from slonik.words.train import is_word, train_words
from tests import tiny

CORPUS = [*tiny.TEXTS] * 3


def test_word2vec_is_gensims_and_the_same_twice(tmp_path: Path) -> None:
    options = {"dimensions": 8, "epochs": 2, "min_count": 2, "seed": 3}
    made = train_words(CORPUS, out=tmp_path / "a", **options)  # type: ignore[arg-type]
    again = train_words(CORPUS, out=tmp_path / "b", **options)  # type: ignore[arg-type]
    first, second = read_word_vectors(tmp_path / "a"), read_word_vectors(tmp_path / "b")
    assert first.content_hash() == second.content_hash()
    assert made.words == again.words == len(first) and first.dimension == 8
    assert "are few for word vectors" in made.warnings[0]
    from razdel import tokenize

    lines = [[t.text for t in tokenize(text.lower()) if is_word(t.text)] for text in CORPUS]
    theirs = Word2Vec(lines, vector_size=8, epochs=2, min_count=2, seed=3, workers=1, sg=1, min_alpha=0.00025)
    np.testing.assert_allclose(first.rows[first.number("слон")], theirs.wv["слон"], atol=1e-6)  # type: ignore[index]
    assert Passport.read(tmp_path / "a").lineage[-1].command == "words train"
    assert not (tmp_path / "a.steps").exists()


def test_fasttext_knows_words_that_it_never_saw(tmp_path: Path) -> None:
    train_words(CORPUS, out=tmp_path / "ft", kind="fasttext", dimensions=6, epochs=1, min_count=2, set=["buckets=100"])
    found = read_word_vectors(tmp_path / "ft")
    assert found.number("слонопотам") is None
    theirs = load_facebook_vectors(str(tmp_path / "ft" / "vectors.fasttext.bin"))
    np.testing.assert_allclose(found.vector("слонопотам"), theirs.get_vector("слонопотам"), atol=1e-6)


def test_mistakes_are_sentences_and_leave_nothing(tmp_path: Path) -> None:
    for corpus, options, sentence in (
        (["раз два три"], {"min_count": 5}, "0 words are 5 times"),
        (["123 !!!"], {}, "holds no word of letters"),
        (CORPUS, {"kind": "glove"}, "kind"),
        (CORPUS, {"dimensions": 0}, "dimensions"),
        (CORPUS, {"set": ["buckets=5"]}, "are of fasttext's n-grams"),
        (CORPUS, {"kind": "fasttext", "set": ["shortest=7"]}, "there are none"),
        (str(tmp_path / "nowhere.txt"), {}, "nowhere.txt"),
    ):
        with pytest.raises(SlonikError, match=sentence):
            train_words(corpus, out=tmp_path / "out", **options)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir()), "neither a folder nor steps of one"
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(CORPUS), encoding="utf-8")
    with pytest.raises(SlonikError, match="plain text, has no columns"):
        train_words(plain, out=tmp_path / "out", column="text")
    assert list(tmp_path.iterdir()) == [plain]


def _run(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["words", *arguments])
    assert exit_.value.code == code


def test_the_command_trains_and_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out, json_file = tmp_path / "corpus.txt", str(tmp_path / "out"), tmp_path / "r.json"
    corpus.write_text("\n".join(CORPUS), encoding="utf-8")
    _run("train", str(corpus), "--out", out, "--dimensions", "8", "--epochs", "1", "--min-count", "2")
    assert "words from" in capsys.readouterr().out
    _run(out, "--nearest", "Слон", "--nearest", "москву", "--top", "2", "--json", str(json_file))
    shown = capsys.readouterr().out
    assert "nearest to Слон (read as слон)" in shown and "drawn at random" in shown
    assert [len(record.detail["answers"]) for record in read_records(json_file)] == [2, 2]
    _run(out, "--nearest", "гиппопотам", code=2)
    assert "no vector of the word 'гиппопотам'" in capsys.readouterr().err
    _run(out, code=2)
    assert "nothing is asked" in capsys.readouterr().err
    _run("train", str(corpus), "--out", out, code=2)
    assert "Traceback" not in capsys.readouterr().err
