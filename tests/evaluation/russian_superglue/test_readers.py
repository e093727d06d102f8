"""Reading official files: every task's form, byte order marks, damage, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.tasks import TASKS, items_hash
from tests.evaluation.russian_superglue import samples
from tests.evaluation.russian_superglue.samples import ROWS, unlabelled, write_data, write_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def _file(tmp_path: Path, name: str, rows: Any) -> Path:
    return write_rows(tmp_path / name / "val.jsonl", rows)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_split_is_read_and_labels_have_the_official_type(task: str, data: Path) -> None:
    for split in TASKS[task].files:
        path = find_file(task, split, data)
        if path is None:
            assert split == "val_crowd"
            continue
        examples = read_examples(task, path)
        for example in examples:
            assert example.is_labelled == (split != "test" or task == "lidirus")
            assert set(TASKS[task].texts) <= set(example.fields)
            if example.label is not None:
                allowed = TASKS[task].labels
                assert example.label in allowed and type(example.label) is type(allowed[0])


def test_muserc_gives_an_example_per_answer_with_its_question_and_passage(tmp_path: Path) -> None:
    examples = read_examples("muserc", _file(tmp_path, "MuSeRC", samples.MUSERC))
    row = samples.MUSERC[1]["passage"]
    assert len(examples) == sum(len(q["answers"]) for r in samples.MUSERC for q in r["passage"]["questions"])
    own = [example for example in examples if example.cluster == "1"]
    assert {example.group for example in own} == {"1/10", "1/11"}
    assert own[0].idx == "1/10/100" and own[0].fields["passage"] == row["text"]
    assert own[0].fields["answer"] == row["questions"][0]["answers"][0]["text"] and own[0].label == 1


def test_rucos_has_each_entity_once_and_the_right_texts(tmp_path: Path) -> None:
    examples = read_examples("rucos", _file(tmp_path, "RuCoS", samples.RUCOS))
    assert examples[1].fields["entities"] == ["Гараж", "Мария Лебедева", "Гжели", "Скопина", "Лебедевой"]
    assert examples[1].answers == ("Гжели",)
    assert set(examples[3].answers) == {"Пётр Зимин", "Зимин"}


def test_rwsd_and_lidirus_are_laid_flat(tmp_path: Path) -> None:
    schema = read_examples("rwsd", _file(tmp_path, "RWSD", samples.RWSD))[1]
    assert schema.fields["span1_text"] == "чемодан," and schema.fields["span2_index"] == 7 and schema.label is False
    pairs = read_examples("lidirus", _file(tmp_path, "LiDiRus", samples.LIDIRUS))
    assert pairs[2].fields["logic"] == "Universal;Existential" and pairs[0].idx == 0


def test_a_byte_order_mark_and_empty_lines_change_nothing(tmp_path: Path) -> None:
    plain = read_examples("terra", write_rows(tmp_path / "a.jsonl", samples.TERRA))
    marked = write_rows(tmp_path / "b.jsonl", samples.TERRA, mark=True)
    marked.write_text(marked.read_text(encoding="utf-8") + "\n\n", encoding="utf-8")
    assert read_examples("terra", marked) == plain


def test_hash_of_items_is_blind_to_labels_but_not_to_texts(tmp_path: Path) -> None:
    for name, rows in ROWS.items():
        task = name.lower()
        known = read_examples(task, write_rows(tmp_path / f"{name}.jsonl", rows))
        blind = read_examples(task, write_rows(tmp_path / f"{name}-test.jsonl", [unlabelled(row) for row in rows]))
        assert items_hash(known) == items_hash(blind), name
        assert items_hash(known[:-1]) != items_hash(known)


def test_a_span_that_reaches_over_the_end_by_a_space_is_cut(tmp_path: Path) -> None:
    row = {**samples.RUSSE[0], "end2": 10_000}
    example = read_examples("russe", _file(tmp_path, "RUSSE", [row]))[0]
    assert example.fields["end2"] == len(example.fields["sentence2"])


def test_a_file_cut_in_the_middle_names_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, "TERRa", samples.TERRA)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(SlonikError, match=r"val\.jsonl, line \d+ is not sound JSON .*cut or damaged"):
        read_examples("terra", path)


@pytest.mark.parametrize(
    ("task", "change", "sentence"),
    [
        ("TERRa", {"label": "maybe"}, r"'maybe' is not a label of TERRa: it must be one of 'entailment'"),
        ("PARus", {"label": 2}, "2 is not a label of PARus"),
        ("DaNetQA", {"label": "нет"}, "'нет' is not a label of DaNetQA"),
        ("TERRa", {"premise": None}, "'premise' is missing or not a text"),
        ("TERRa", {"idx": None}, "'idx' is missing or not a whole number"),
        ("TERRa", {"idx": 1}, "the number 1 comes twice"),
        ("RUSSE", {"start1": 500, "end1": 510}, "are not inside sentence1"),
        ("RWSD", {"target": "он"}, "'target' is missing or has another form"),
        ("MuSeRC", {"passage": {"text": "Текст."}}, "'questions' is missing"),
        ("RuCoS", {"qas": [{"idx": 0}]}, "'query' is missing"),
    ],
)
def test_bad_rows_are_refused_with_their_place(
    task: str, change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    rows = [dict(row) for row in ROWS[task]]
    rows[0] |= change
    with pytest.raises(SlonikError, match=sentence):
        read_examples(task.lower(), _file(tmp_path, task, rows))


def test_labels_in_other_spellings_are_taken_where_they_are_unambiguous(tmp_path: Path) -> None:
    rows = [{**row, "label": str(row["label"])} for row in samples.DANETQA]
    assert [e.label for e in read_examples("danetqa", _file(tmp_path, "DaNetQA", rows))] == [
        row["label"] for row in samples.DANETQA
    ]


def test_a_file_of_version_1_0_is_refused(tmp_path: Path) -> None:
    rows = [{**samples.DANETQA[n % 12], "idx": n} for n in range(295)]
    with pytest.raises(SlonikError, match=r"295 rows, as in version 1\.0 .* do not mix"):
        read_examples("danetqa", _file(tmp_path, "DaNetQA", rows))


def test_what_is_no_file_of_the_benchmark_is_said(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="slonik fetch russian-superglue"):
        read_examples("terra", tmp_path / "none.jsonl")
    (tmp_path / "list.jsonl").write_text("[1]\n")
    with pytest.raises(SlonikError, match="line 1 is not a JSON object"):
        read_examples("terra", tmp_path / "list.jsonl")
    (tmp_path / "cp1251.jsonl").write_bytes("привет".encode("cp1251"))
    with pytest.raises(SlonikError, match="not UTF-8"):
        read_examples("terra", tmp_path / "cp1251.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SlonikError, match="holds no example of TERRa"):
        read_examples("terra", tmp_path / "empty.jsonl")
    with pytest.raises(SlonikError, match="did you mean 'terra'"):
        read_examples("tera", tmp_path / "empty.jsonl")


@pytest.mark.shared_data
def test_the_development_files_are_read_whole(shared_data: Path) -> None:
    sizes = {"lidirus": 467, "rcb": 86, "parus": 224, "russe": 398, "rwsd": 44}
    for task, size in sizes.items():
        path = find_file(task, "val_crowd", shared_data)
        assert path is not None and len(read_examples(task, path)) == size
    for split in ("train", "test"):
        path = find_file("terra", split, shared_data)
        assert path is not None and len(read_examples("terra", path)) == TASKS["terra"].sizes[split]
