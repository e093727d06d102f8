"""Lists of judged words: read in the forms that there are, scored as scipy and gensim score them, gaps counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from scipy.stats import spearmanr

from slonik.core.errors import SlonikError
from slonik.models.word_vectors import WordVectors
from slonik.words.measuring import Pair, measure_analogies, measure_pairs, read_analogies, read_pairs

WORDS = tuple(f"w{number}" for number in range(40))
ROWS = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)
VECTORS = WordVectors("игрушка", WORDS, ROWS)


@pytest.mark.parametrize(
    "text",
    [
        "word1,word2,sim\nслон,лев,0.5\nстол,стул,0.9\n",
        "слон,лев,0.5\nстол,стул,0.9\n",
        "\ufeffword1\tword2\tscore\r\nслон\tлев\t0.5\r\nстол\tстул\t0.9\r\n",
        "слон\tлев\t0,5\nстол\tстул\t0,9\n",
        "слон лев 0.5\n\nстол стул 0.9\n",
        "id,word1,word2,average_score,std\n1,слон,лев,0.5,1\n2,стол,стул,0.9,1\n",
        "# a comment\nword1;word2;sim\nслон;лев;0.5\nстол;стул;0.9\n",
    ],
)
def test_pairs_are_read_in_their_forms(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hj.csv"
    path.write_text(text, encoding="utf-8")
    assert read_pairs(path) == [Pair("слон", "лев", 0.5), Pair("стол", "стул", 0.9)]


def test_a_first_line_without_a_number_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "damaged.csv"
    path.write_text("слон,лев,много\nстол,стул,0.9\nкот,пёс,0.7\n", encoding="utf-8")
    assert len(read_pairs(path)) == 2
    assert "'слон,лев,много', has no number: read as names of columns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no pair"),
        ("word1,word2,sim\n", "names of columns and no pair"),
        ("слон,лев,0.5\nстол,стул\n", "line 2"),
        ("слон,лев,0.5\nстол,стул,много\n", "line 2"),
        ("слон,лев,0.5\n,стул,1\n", "line 2"),
        ("слон,лев,0.5\nстол,стул,nan\n", "line 2"),
        ("a,b,c,d\nслон,лев,1,2\n", "which columns"),
        ("слон,лев,1,2\n", "4 columns without names"),
    ],
)
def test_files_that_are_no_pairs(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "hj.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SlonikError, match=sentence):
        read_pairs(path)


def test_the_correlation_is_scipys_and_gaps_are_counted() -> None:
    rng = np.random.default_rng(2)
    pairs = [
        Pair(WORDS[a], WORDS[b], float(rng.integers(0, 5)))
        for a, b in rng.permutation(40).repeat(2)[1:61].reshape(30, 2)
    ]
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    cosines = [float(unit[WORDS.index(p.first)] @ unit[WORDS.index(p.second)]) for p in pairs]
    record = measure_pairs(VECTORS, [*pairs, Pair("w1", "чужое", 3.0), Pair("чужое", "иное", 3.0)], "hj")
    assert record.value == pytest.approx(spearmanr([p.judged for p in pairs], cosines).statistic)
    assert record.low is not None and record.high is not None and record.value is not None
    assert -1 <= record.low < record.value < record.high <= 1
    assert (record.n, record.detail["missing"], record.detail["unknown_words"]) == (30, 2, ["иное", "чужое"])
    with pytest.raises(SlonikError, match="wants three at least"):
        measure_pairs(VECTORS, [Pair("w1", "чужое", 3.0)], "hj")
    with pytest.raises(SlonikError, match="nothing to rank"):
        measure_pairs(VECTORS, [Pair("w1", "w2", 3.0), Pair("w1", "w3", 3.0), Pair("w4", "w3", 3.0)], "hj")


def test_analogies_are_scored_as_gensim_scores_them(tmp_path: Path) -> None:
    theirs = KeyedVectors(6)
    theirs.add_vectors(list(WORDS), ROWS)
    rng = np.random.default_rng(4)
    questions = []
    for _ in range(40):
        a, b, c = rng.choice(40, 3, replace=False)
        right = theirs.most_similar([WORDS[b], WORDS[c]], [WORDS[a]], topn=1)[0][0]
        other = WORDS[int(rng.integers(0, 40))]
        questions.append((WORDS[a], WORDS[b], WORDS[c], right if rng.random() < 0.6 else other))
    path = tmp_path / "q.txt"
    half = [" ".join(question) for question in questions]
    path.write_text("\n".join([": первая", *half[:20], "", ": вторая", *half[20:], "w1 w2 w3 чужое"]), encoding="utf-8")
    score, sections = theirs.evaluate_word_analogies(str(path), case_insensitive=False)
    found = {(r.task, r.variant): r for r in measure_analogies(VECTORS, read_analogies(path), "q")}
    whole = found["q", "analogies_add"]
    assert whole.value == pytest.approx(score)
    assert (whole.n, whole.detail["missing"], whole.detail["unknown_words"]) == (40, 1, ["чужое"])
    assert whole.detail["of_all"] == pytest.approx(score * 40 / 41)
    first = sections[0]
    assert found["q: первая", "analogies_add"].value == pytest.approx(len(first["correct"]) / 20)
    right = [theirs.most_similar_cosmul([b, c], [a], topn=1)[0][0] == d for a, b, c, d in questions]
    assert found["q", "analogies_mul"].value == pytest.approx(np.mean(right))


def test_the_set_of_our_own_is_whole_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    own = read_analogies("sample")
    assert len({question.section for question in own}) == 8
    assert all(len(set(question.words)) == 4 for question in own)
    path = tmp_path / "q.txt"
    path.write_text(": раздел\nодно два три\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="line 2: 3 words"):
        read_analogies(path)
    path.write_text(": раздел\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="holds no analogy"):
        read_analogies(path)
    with pytest.raises(SlonikError, match="none of the 1 analogies"):
        measure_analogies(VECTORS, [own[0]], "own")
