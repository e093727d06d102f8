"""Reading encodechka's files: columns, odd characters, damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.encodechka.readers import numbers, read_documents, read_labelled, read_pairs, read_sentences
from slonik.evaluation.encodechka.tasks import TASKS


def test_texts_that_look_like_gaps_and_odd_separators_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('text,toxic\nNA,1\n"a ""b"", \u2028c\nd",0\nnull\x0cx,1\n'.encode())
    assert read_labelled(path, "text", "toxic").texts == ("NA", 'a "b", \u2028c\nd', "null\x0cx")


def test_sentences_are_split_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes("один\u2028два\r\n три \n".encode())
    assert read_sentences(path) == ("один\u2028два", "три")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,other\na,1\n", "no column 'toxic'"),
        (b"text,toxic\na\n", "cut short"),
        (b"text,toxic\n", "no records"),
        (b"text,toxic\n\xff\xfe,1\n", "not UTF-8"),
    ],
)
def test_damage_is_one_sentence_with_the_path(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(SlonikError, match=message) as error:
        read_labelled(path, "text", "toxic")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"texts": ["a"], "labels": []}', '{"texts": ["a"], "labels": [[["P", 0, 9]]]}']
)
def test_damaged_documents_are_one_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(content)
    with pytest.raises(SlonikError, match="fetch it again"):
        read_documents(path)


def test_a_target_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="high"):
        numbers(["1.5", "high"], tmp_path)


@pytest.mark.shared_data
def test_the_published_files_have_the_published_sizes(shared_data: Path) -> None:
    root = shared_data / "encodechka"
    assert len(read_pairs(root / "stsb_dev.csv", TASKS["sts"]).first) == 1500
    paraphrases = read_pairs(root / "para_gold.csv", TASKS["pi"])
    assert {target: paraphrases.targets.count(target) for target in set(paraphrases.targets)} == {
        "-1": 772,
        "0": 778,
        "1": 374,
    }
    intents = read_labelled(root / "intents_train.csv", "answer", "label")
    assert (len(intents.texts), len(set(intents.labels))) == (5000, 67)
    assert len(set(read_labelled(root / "intents_test.csv", "text", "label").labels)) == 68
    toxic = read_labelled(root / "toxic_test.csv", "text", "toxic").labels
    assert (len(toxic), toxic.count("1")) == (2000, 1000)
    documents = read_documents(root / "factru.json")
    assert (len(documents), sum(len(d.entities) for d in documents)) == (254, 10814)
    assert sum(start == 0 for d in documents for _, start, _ in d.entities) == 97
    assert len(read_sentences(root / "sentences_sample.txt")) == 300


@pytest.mark.shared_data
def test_the_format_samples_of_the_other_tasks_are_read(shared_data: Path) -> None:
    root = shared_data / "encodechka" / "format_samples"
    inference = read_pairs(root / "xnli_ru.csv", TASKS["nli"])
    assert set(inference.targets) == {"entailment", "neutral", "contradiction"}
    assert set(read_labelled(root / "SentiRuEval2016_small_train.csv", "text", "answer").labels) == {"-1", "0", "1"}
    assert set(read_labelled(root / "inappropriate_test.csv", "text", "y").labels) == {"0", "1"}
    assert len(read_documents(root / "rudrec.json")) == 20
