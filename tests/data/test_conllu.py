"""Treebanks: what is left out of the tree, what the text is, and which mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.conllu import Sentence, Word, is_conllu, join_units, read_conllu

TREE = """\
# sent_id = первое
# text = Я не знаю, а он — да.
1\tЯ\tя\tPRON\t_\tCase=Nom|Number=Sing\t3\tnsubj\t_\t_
2-3\tне знаю\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tне\tне\tPART\t_\t_\t3\tadvmod\t_\t_
3\tзнаю\tзнать\tVERB\t_\tMood=Ind|VerbForm=Fin\t0\troot\t_\t_
4\t,\t,\tPUNCT\t_\t_\t6\tpunct\t_\t_
5\tа\tа\tCCONJ\t_\t_\t6\tcc\t_\t_
5.1\tзнает\tзнать\tVERB\t_\t_\t_\t_\t3:conj\t_
6\tон\tон\tPRON\t_\t_\t3\tconj\t_\t_
7\tда\t_\tINTJ\t_\t_\t6\torphan:x\t_\tSpaceAfter=No
8\t.\t.\tPUNCT\t_\t_\t3\tpunct\t_\t_

1\tслово\t_\t_\t_\t_\t_\t_\t_\t_
"""


def _write(folder: Path, text: str, name: str = "bank.conllu") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_words_units_and_what_is_missing(tmp_path: Path) -> None:
    first, second = read_conllu(_write(tmp_path, TREE))
    assert (first.id, first.empty_nodes, len(first.words)) == ("первое", 1, 8)
    assert [unit.form for unit in first.units] == ["Я", "не знаю", ",", "а", "он", "да", "."]
    assert first.units[1].words == (2, 3)
    assert first.text == "Я не знаю, а он — да."
    assert join_units(first.units) == "Я не знаю, а он да."
    assert first.words[0].feats == {"Case": "Nom", "Number": "Sing"}
    assert first.words[6].relation == "orphan"
    assert first.words[6].lemma == ""
    assert first.root is not None
    assert first.root.form == "знаю"
    assert first.depth == 2
    assert (second.text, second.root, second.depth, second.words[0].head) == ("слово", None, None, None)


def test_a_cycle_is_no_tree(tmp_path: Path) -> None:
    rows = ["1\tа\t_\t_\t_\t_\t0\troot\t_\t_", "2\tб\t_\t_\t_\t_\t3\tdep\t_\t_", "3\tв\t_\t_\t_\t_\t2\tdep\t_\t_"]
    (sentence,) = read_conllu(_write(tmp_path, "\n".join(rows)))
    assert sentence.depth is None


def _rows(*heads: tuple[int, int]) -> str:
    return "".join(f"{word}\tслово\t_\tNOUN\t_\t_\t{head}\tdep\t_\t_\n" for word, head in heads)


def test_the_cut_end_of_a_file_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(tmp_path, _rows((1, 2), (2, 0)) + "\n" + _rows((1, 3)))
    assert [len(sentence.words) for sentence in read_conllu(path)] == [2]
    assert "bank.conllu, line 4: the head of word 1 is 3, and its sentence has 1 word:" in capsys.readouterr().err
    with pytest.raises(SlonikError, match="holds no"):
        list(read_conllu(_write(tmp_path, _rows((1, 3)), "short.conllu")))


def test_two_words_of_one_number_end() -> None:
    words = (Word(1, "а", head=0), Word(1, "б", head=1), Word(2, "в", head=1))
    assert Sentence(words, ()).depth is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\tслово\tслово\n", "line 1: 3 columns"),
        ("1\tслово\t_\tX\t_\tNumber\t0\troot\t_\t_\n\n", "line 1: the feature 'Number' is no NAME=VALUE"),
        ("1\tслово\t_\tX\t_\tA=b|A=c\t0\troot\t_\t_\n\n", "line 1: the feature 'A=c' is there twice"),
        ("один\tслово\t_\t_\t_\t_\t0\troot\t_\t_\n", "'один' is not the number"),
        ("# только примечание\n\n", "holds no sentence"),
        ("", "holds no sentence"),
        (_rows((1, 0), (2, 7)) + "\n" + _rows((1, 0)) + "\n", "line 2: the head of word 2 is 7, .* has 2 words"),
        (_rows((1, 0), (2, 2)), "line 2: word 2 is its own head"),
        (_rows((1, 0), (1, 1)), "line 2: word 1 where word 2 should be"),
        (_rows((1, 0), (3, 1)), "line 2: word 3 where word 2 should be"),
        (_rows((2, 0)), "line 1: word 2 where word 1 should be"),
        ("2-3\tа\t_\t_\t_\t_\t_\t_\t_\t_\n" + _rows((1, 0)), "line 1: the multiword token 2-3"),
        (_rows((1, 0)) + "# text = да\n" + _rows((1, 0)), "line 2: a comment inside a sentence"),
        ("1.1\tа\t_\t_\t_\t_\t_\t_\t_\t_\n\n", "line 1: a sentence without words"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SlonikError, match=says):
        list(read_conllu(_write(tmp_path, text)))


def test_names() -> None:
    assert is_conllu("a.conllu")
    assert is_conllu(Path("x/b.CONLLU.gz"))
    assert not is_conllu("a.txt")


@pytest.mark.shared_data
def test_real_treebanks(shared_data: Path) -> None:
    english = list(read_conllu(shared_data / "ud" / "en_pud-ud-test.conllu"))
    assert len(english) == 1000
    assert sum(sentence.empty_nodes for sentence in english) == 7
    assert all(sentence.depth is not None for sentence in english)
    assert sum(join_units(sentence.units) == sentence.text for sentence in english) >= 990
