"""Exports of annotation tools: what is gold is read with the right offsets, what is not is counted or refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.formats import convert, guess_format, read_documents, write_documents

FAR = "Вирус 🔒 Petya в Туле"  # Petya: 8 to 13 in code points, 9 to 14 in UTF-16 units
PETYA, TULA = Span(8, 13, "VIRUS"), Span(16, 20, "LOC")
# Three documents that spaCy 3.8 wrote: entities; one with missing annotation; one with spans of a group, nested.
DOCBIN = base64.b64decode(
    b"eJy9l3tsS1Ecx3uZZycLIgvxKPEKMsRjHiFZuhdma+rxh4zmZuumVrfVe7uZSHvvinhErB1/MGK7Wx/aomalNtqkOiEsOVcQyyaZ"
    b"COIVxPsRnNvukIjlWrn75d5+zz3n+zuf87inTfc6S9UGUqMj6malzLbjFGUgj6XJly1fkbMyN0/RikVasZZW7IqD0pWoCbJFevXO"
    b"gvAezcKk4W4XvcaUuaVDIhB9uqnHBPKsyi2SQlo603Y4Z0fpc0WZEKdvl5qFOv4tBj9TXc71Os/sL39UIQVjO4X8qPuecky62mvv"
    b"lkxc/q/rJhTtJ8rdVf0v6ZGKxcHurnzyZdaROqRicZgNYSJx5CItUrE4iz8krA48SlQgFYuTPlA7KaD2t2+zbB1PFknvC/nRe/00"
    b"VSZlTA+y/5Zz3SMf/XDQ3HtIhfzxzmfusGPeG6qQIX3UPE9o3OQLQn40H6aH54cNe3Oet5lPIxXyxzufoR8zw28WaUqRisWpGZQ/"
    b"RVuZ4sw3lctnzL9wWyzOt1OP17VYM78hFYvTW/uTlZ50ETOen4pULI4+1a14XX1z1eH1bfk7cymLWJzC0Lr9knd5S43fdxSt3z2i"
    b"Ml6O0HH6+r7Mljpbb2rMMCeMzDz/UoiDzmnGtKv3lWD4MyE/io4PndXZbSc1SIX88a6bjJ38NnGOvxOpWJx7txqSP7W/OJDcuCRo"
    b"PpSfFGc3grHrqCzZ0+fz9O1Z+/qZNyhlYnF665z+r3UTeq97a92y3GmbXMZ5LUjF4vR0f+INB6nHC9RkZAxcYSwWfIlvij1I+Nup"
    b"VRPF1EYykjgMNgyAdwK8nSRl0BDFZIdkag07ZHCtrHZCbYojO02+IkNZl5Mnr8tTZtkVaqoct682GrS4fe0y5ZpVdn20huJr2LCH"
    b"DTe7gBX4wCXQ5AY2EOBozsIxDnAQNADfOXAE+DgGhIAf1jOgCQTBWRB0w+ogzPBzu86Baph8BgQ5GjorohrgDnhBDSwyMCUAAi7A"
    b"chbQDPwuaIySWNDghv13wbzgLF+AFMhxgMYYuenP5KZf5OY/kethq8/Nf8BcH2hmQfAUCMG2IPT6+RxvNIHhKjgrV8E//BwoDwzy"
    b"Rm4PfIRWFzRFR17/6vhBW30BTpFVNE3bi7R4MVnFNGzESZWRKCF0ZYQqtpPhv6/0QCVUxQadUU9WRbBK/jIwkRJLPYFvVrNkQeyP"
    b"IG3nfaQt0s2PLGbuKqDvCGm3TkYSO8m8sx/vtELKCSOpNqgKcQqHg6Bj1w91hFGY"
)


def read(path: Path, kind: str | None = None) -> tuple[list[Document], Counts]:
    counts = Counts()
    return list(read_documents(path, counts, kind=kind)), +counts


def rows(folder: Path, *given: Any, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in given) + "\n", encoding="utf-8")
    return path


def studio(text: str, *regions: tuple[int, int, str, str], **fields: Any) -> dict[str, Any]:
    results = [
        {"type": "labels", "from_name": "label", "to_name": "text", "value":
         {"start": start, "end": end, "text": words, "labels": [label]}}
        for start, end, words, label in regions
    ]  # fmt: skip
    return {"id": 7, "data": {"text": text}, "annotations": [{"result": results, "was_cancelled": False}], **fields}


@pytest.mark.parametrize(
    "row",
    [
        {"text": FAR, "annotations": [{"label": "VIRUS", "start_offset": 8, "end_offset": 13, "user": 1}]},
        {"data": FAR, "label": [[8, 13, "VIRUS"]]},
        {"text": FAR, "labels": [[8, 13, "VIRUS"]], "Comments": []},
        {"text": FAR, "entities": {"0": {"label": "VIRUS", "start_offset": 8, "end_offset": 13}}, "relations": []},
        {"text": FAR, "entities": {"VIRUS": [[8, 13]]}},
        {"text": FAR, "label": {"entities": [[8, 13, "VIRUS"]]}},
        [FAR, {"entities": [[8, 13, "VIRUS"]]}],
        {"text": FAR, "entities": {}, "spans": [{"start": 8.0, "end": 13.0, "label": "VIRUS"}]},
        {"text": FAR, "label": [{"start": 9, "end": 14, "text": "Petya", "labels": ["VIRUS"]}], "annotator": 1},
        {"text": FAR, "my_labels": [{"start": 9, "end": 14, "text": "Petya", "labels": ["VIRUS"]}]},
        {"text": FAR, "entities": ["T1\tVIRUS 8 13\tPetya"]},
        {"sentences": FAR, "ners": [[8, 12, "VIRUS"]]},
        {"text": FAR, "label": [["8", "13", "VIRUS"]]},
        {"text": FAR, "entities": [{"id": 1, "label": "VIRUS", "start_offset": "8", "end_offset": "13"}]},
        {"text": FAR, "entities": {"label": "VIRUS", "start_offset": 8, "end_offset": 13}},
        {"id": 5, "data": {"text": "Анонс", "body": FAR}, "annotations": [
            {"result": [{"type": "labels", "value": {"start": "9", "end": "14", "text": "Petya", "labels": ["VIRUS"]}}]}
        ]},
        {"text": FAR, "spans": [[8, 13, "VIRUS"]], "answer": "accept", "_view_id": "ner_manual"},
        {"text": FAR, "spans": [[8, 13, "VIRUS"], [8, 13, "VIRUS"]]},
    ],
)  # fmt: skip
def test_a_span_is_the_same_however_it_is_written(tmp_path: Path, row: Any) -> None:
    [document], _ = read(rows(tmp_path, row))
    assert (document.text, document.spans, document.unknown) == (FAR, (PETYA,), ())


def test_offsets_in_utf16_are_recognised_by_words_and_by_borders_and_code_points_stay(tmp_path: Path) -> None:
    doccano = {"text": FAR, "entities": [{"label": "VIRUS", "start_offset": 9, "end_offset": 14}]}
    [document], counts = read(rows(tmp_path, doccano))
    assert document.spans == (PETYA,) and counts == {"rows with offsets that count UTF-16 units: converted": 1}
    inside = {"text": "🔒 Androidом", "spans": [[2, 9, "PROGRAM"]]}  # a border inside a word, as annotators set it
    [document], counts = read(rows(tmp_path, inside))
    assert document.spans == (Span(2, 9, "PROGRAM"),) and not counts


@pytest.mark.parametrize("one_line_end", [False, True])
@pytest.mark.parametrize("unit", ["points", "utf-16", "utf-8"])
@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("kind", ["brat", "studio"])
def test_every_way_of_counting_and_all_together(
    tmp_path: Path, one_line_end: bool, unit: str, mark: bool, kind: str
) -> None:
    text = ("\ufeff" if mark else "") + "Замок 🔒\r\nвзломан\r\nхакером Turla 🔒 в Туле."

    def counted(place: int) -> int:
        before = text[:place].replace("\r\n", "\n") if one_line_end else text[:place]
        before = before.removeprefix("\ufeff")
        return {
            "points": len(before), "utf-16": len(before.encode("utf-16-le")) // 2, "utf-8": len(before.encode()),
        }[unit]  # fmt: skip

    spans = tuple(Span(text.index(w), text.index(w) + len(w), "X") for w in ("взломан\r\nхакером", "Turla", "Туле"))
    places = [(counted(span.start), counted(span.end), text[span.start : span.end]) for span in spans]
    if kind == "brat":
        (tmp_path / "a.txt").write_bytes(text.encode())
        lines = (
            f"T{n}\tX {a} {b}\t{words.replace(chr(13), ' ').replace(chr(10), ' ')}\n"
            for n, (a, b, words) in enumerate(places)
        )
        (tmp_path / "a.ann").write_bytes("".join(lines).encode())
        [document], _ = read(tmp_path)
    else:
        [document], _ = read(rows(tmp_path, studio(text, *((a, b, words, "X") for a, b, words in places))))
    assert document.text == text and document.spans == spans


def test_label_studio_tasks(tmp_path: Path) -> None:
    several = studio(FAR, (9, 14, "Petya", "VIRUS"))
    several["annotations"] += [{"result": [], "updated_at": "2026"}]
    truth = studio(FAR, (9, 14, "Petya", "VIRUS"), (17, 21, "Туле", "LOC"))
    truth["annotations"][0]["ground_truth"] = True
    truth["annotations"] += [{"result": [], "updated_at": "2026"}]
    truth["annotations"][0]["result"] += [{"type": "choices", "value": {"choices": ["да"]}}, {"type": "relation"}]
    skipped = studio(FAR)
    skipped["annotations"][0]["was_cancelled"] = True
    tasks = [several, truth, skipped, studio(FAR, annotations=[], predictions=[{"result": []}])]
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    assert guess_format(path) == "label-studio"
    (first, second), counts = read(path)
    assert first.spans == () and second.spans == (PETYA, TULA) and second.id == "7"
    assert counts["tasks that the annotator skipped left out"] == 1
    assert counts["tasks that nobody has annotated left out (predictions of a model are not gold)"] == 1
    assert counts["choices results of tasks (no regions of a text) left out"] == 1
    assert counts["tasks with several annotations, of which the ground truth or the latest is taken"] == 2
    written, _ = convert(path, tmp_path / "again", "label-studio")
    assert written == 2
    (_, again), _ = read(tmp_path / "again" / "data.json")
    assert again.spans == (PETYA, TULA)
    with pytest.raises(SlonikError, match="hypertextlabels regions count in markup"):
        wrong = {
            "type": "hypertextlabels",
            "value": {"start": "/p[1]", "end": "/p[1]", "startOffset": 1, "labels": ["A"]},
        }
        read(rows(tmp_path, {"data": {"text": FAR}, "annotations": [{"result": [wrong]}]}))
    with pytest.raises(SlonikError, match=r"which field of data is the text \(title, body\)"):
        read(rows(tmp_path, {"data": {"title": "а", "body": "б"}, "annotations": [{"result": []}]}))


@pytest.mark.parametrize("times", [({}, {}), ({"created_at": "2024-01-01"}, {"created_at": "2024-01-02"}),
                                   ({"created_at": "2025", "updated_at": "2025"}, {"updated_at": "2026"})])  # fmt: skip
def test_the_latest_annotation_of_a_task_counts_however_its_time_is_written(tmp_path: Path, times: Any) -> None:
    old, new = studio(FAR, (9, 14, "Petya", "VIRUS")), studio(FAR, (17, 21, "Туле", "LOC"))
    both = [one["annotations"][0] | time for one, time in zip((old, new), times, strict=True)]
    [document], _ = read(rows(tmp_path, {"id": 7, "data": {"text": FAR}, "annotations": both}))
    assert document.spans == (TULA,)
    if times[0]:  # dates decide, not places
        [document], _ = read(rows(tmp_path, {"id": 7, "data": {"text": FAR}, "annotations": both[::-1]}))
        assert document.spans == (TULA,)
    with pytest.raises(SlonikError, match="it must be a list of regions"):
        read(rows(tmp_path, {"data": {"text": FAR}, "annotations": [{"result": {"a": 1}}]}))


def test_relations_and_rejected_spans_are_counted(tmp_path: Path) -> None:
    spans = [{"start": 8, "end": 13, "label": "VIRUS", "answer": "reject"}, [16, 20, "LOC"]]
    links = [{"id": 1, "from_id": 1, "to_id": 2, "type": "in"}]
    nerel = {"text": FAR, "entities": ["T1\tLOC 16 20\tТуле"], "relations": ["R1\tin Arg1:T1 Arg2:T1"]}
    (first, second), counts = read(rows(tmp_path, {"text": FAR, "spans": spans, "relations": links}, nerel))
    assert first.spans == second.spans == (TULA,)
    assert counts == {"spans that the annotator rejected left out": 1, "relations between entities left out": 2}


def test_prodigy_answers(tmp_path: Path) -> None:
    spans = [{"start": 8, "end": 13, "label": "VIRUS"}]
    path = rows(
        tmp_path,
        *({"text": FAR, "spans": spans, "answer": answer} for answer in ("accept", "reject", "ignore")),
        {"text": FAR, "spans": spans, "answer": "accept", "_view_id": "ner"},
    )
    (whole, binary), counts = read(path, "prodigy")
    assert whole.spans == binary.spans == (PETYA,) and whole.unknown == () and binary.unknown == ((0, len(FAR)),)
    assert (
        counts["rows that the annotator rejected left out"] == counts["rows that the annotator ignored left out"] == 1
    )
    assert counts["rows of one decision each: what they do not mark counts as unknown, not as no entity"] == 1
    with pytest.raises(SlonikError, match="holds no document that is gold: 1 rows that the annotator rejected"):
        read(rows(tmp_path, {"text": FAR, "spans": spans, "answer": "reject"}))
    with pytest.raises(SlonikError, match="the answer is 'maybe'"):
        read(rows(tmp_path, {"text": FAR, "spans": spans, "answer": "maybe"}))


def test_runne_over_words_and_numbered_labels(tmp_path: Path) -> None:
    row = {"doc_key": "d", "sentences": [["Банк", "России"], ["Тула"]], "ners": [[[0, 1, "ORG"], [1, 1, "LOC"]], []]}
    [document], _ = read(rows(tmp_path, row))
    assert (document.id, document.text) == ("d", "Банк России\nТула")
    assert document.spans == (Span(0, 11, "ORG"), Span(5, 11, "LOC"))
    path = rows(tmp_path, {"text": FAR, "annotations": [{"label": 3, "start_offset": 8, "end_offset": 13}]})
    with pytest.raises(SlonikError, match=r"the label is the number 3: put labels\.json beside"):
        read(path)
    (tmp_path / "labels.json").write_text('[{"id": 3, "text": "VIRUS"}]', encoding="utf-8")
    assert read(path)[0][0].spans == (PETYA,)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": FAR, "mentions": [{"start": 8, "end": 13, "type": "VIRUS"}]},
            "the field 'mentions' looks like spans",
        ),
        ({"text": FAR, "label": "toxic"}, "text classification"),
        ({"text": FAR, "options": [], "accept": ["A"], "answer": "accept"}, "'accept' is about the whole text"),
        ({"text": FAR, "cats": {"A": 1.0}}, "'cats' is about the whole text"),
        ({"text": FAR, "label": ["toxic", "insult"]}, "text classification"),
        ({"label": "ORG", "pattern": "Петя"}, "this is a rule"),
        ({"text": FAR, "entities": [7]}, "7 is not a span"),
        ({"text": FAR, "entities": 7}, "entities is '7', which is not understood"),
        ({"text": FAR, "entities": [{"start": 8, "label": "A"}]}, "lacks a whole start, a whole end"),
        ({"text": FAR, "spans": [[8.5, 13, "A"]]}, "lacks a whole start"),
        ({"text": FAR, "spans": [[13, 8, "A"]]}, "start must be below end"),
        ({"text": FAR, "unknown": [[5, 99]]}, "unknown must be"),
        ({"sentences": [["а"]], "ners": [[[0, 1, "A"]]]}, "outside a sentence of 1 words"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(SlonikError, match=message):
        read(rows(tmp_path, row))


def test_rows_without_any_field_of_spans_are_counted(tmp_path: Path) -> None:
    [document], counts = read(rows(tmp_path, {"text": FAR, "url": "x", "meta": [1, 2]}))
    assert document.spans == () and counts == {"rows without a field of spans, taken as texts without entities": 1}
    assert not read(rows(tmp_path, {"text": FAR, "spans": []}))[1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_field_that_stands_twice_in_a_row_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"text": "Тула", "spans": [[0, 4, "LOC"]], "spans": []}', encoding="utf-8")
    with pytest.raises(SlonikError, match="the key 'spans' is there twice"):
        read(tmp_path / name)


def test_lists_in_one_json_file(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    for content in (
        [{"text": FAR, "spans": [[8, 13, "VIRUS"]]}],
        {"classes": ["VIRUS"], "annotations": [[FAR, {"entities": [[8, 13, "VIRUS"]]}], None]},
        {"text": FAR, "spans": [[8, 13, "VIRUS"]]},
    ):
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        [document], _ = read(path)
        assert document.spans == (PETYA,)
    path.write_bytes(
        json.dumps([{"text": "Это текст о вирусе Петя и городе Туле"}], ensure_ascii=False).encode("cp1251")
    )
    with pytest.raises(SlonikError, match="not UTF-8; it looks like cp1251"):
        read(path)
    path.write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(SlonikError, match=r"without a list of texts \(fields: a\)"):
        read(path)


def test_a_docbin_of_spacy(tmp_path: Path) -> None:
    path = tmp_path / "real.spacy"
    path.write_bytes(DOCBIN)
    (first, second, third), counts = read(path)
    words = [(first.text[one.start : one.end], one.label) for one in first.spans]
    assert words == [("Лаборатория Касперского", "ORG"), ("Turla", "HACKER"), ("Туле", "LOC")] and first.unknown == ()
    assert first.text == "«Лаборатория Касперского» 🔒 сообщила о группе Turla в Туле.  Два пробела.\r\nКонец"
    assert second.spans == (Span(6, 11, "VIRUS"),) and [second.text[a:b] for a, b in second.unknown] == ["Банк России"]
    assert third.spans == (Span(0, 11, "ORG"), Span(5, 11, "LOC")) and not counts
    path.write_bytes(DOCBIN[:300])
    with pytest.raises(SlonikError, match=r"real\.spacy is no DocBin of spaCy, or is damaged"):
        read(path)
    with pytest.raises(SlonikError, match="unknown --to format 'spacy'"):
        convert(path, tmp_path / "x", "spacy")


def test_what_is_unknown_survives_our_rows_and_is_counted_elsewhere(tmp_path: Path) -> None:
    given = [Document("a", FAR, (PETYA,), unknown=((14, 20),))]
    write_documents(given, tmp_path / "jsonl", "jsonl", Counts())
    assert read(tmp_path / "jsonl")[0] == given
    for kind in ("brat", "conll", "hf", "label-studio"):
        counts = Counts()
        write_documents(given, tmp_path / kind, kind, counts)
        assert any("annotat" in words for words in counts), kind


def test_documents_of_one_id_keep_apart_on_the_way_to_brat(tmp_path: Path) -> None:
    given = [Document(name, f"Тула {n}", (Span(0, 4, "LOC"),)) for n, name in enumerate(["a", "a", "a-2", "b/a", "a"])]
    counts = Counts()
    assert write_documents(given, tmp_path, "brat", counts) == 5
    back, _ = read(tmp_path)
    assert sorted(one.text for one in back) == [f"Тула {n}" for n in range(5)] and len({one.id for one in back}) == 5
    assert +counts == {"documents with the id of an earlier one, whose files have a number more": 3}


def test_ids_that_no_file_can_bear_are_replaced_on_the_way_to_brat(tmp_path: Path) -> None:
    names = ["ы" * 140, "a", "a.txt/b", "c/d", "c", "\ud800", "e.txt/f", "e", "  "]
    given = [Document(name, f"Тула {n}", (Span(0, 4, "LOC"),)) for n, name in enumerate(names)]
    counts = Counts()
    assert write_documents(given, tmp_path, "brat", counts) == len(names)
    back, _ = read(tmp_path)
    assert sorted(one.text for one in back) == sorted(one.text for one in given)
    assert {"a", "c/d", "c", "e.txt/f", "document-1", "document-8"} <= {one.id for one in back}
    assert counts["ids that make no file name replaced by a number"] == 5


def test_files_of_other_kinds_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(SlonikError, match=r"is a \.csv file"):
        guess_format(tmp_path / "a.csv")
