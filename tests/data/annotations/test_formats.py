"""Every format gives back what was put in; what it cannot hold is counted; what is broken is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.brat import COVERED, NAMED_TWICE, read_brat
from slonik.data.annotations.document import Counts, Document, LabelMapping, Span, read_mapping
from slonik.data.annotations.formats import convert, guess_format, read_documents, write_documents
from slonik.data.annotations.tags import SCHEMES
from tests.data.annotations.samples import AWKWARD, BRAT_ANN, BRAT_TEXT, tree, write_pair


def mark(text: str, *words: tuple[str, str]) -> tuple[Span, ...]:
    return tuple(sorted(Span(text.index(word), text.index(word) + len(word), label) for word, label in words))


SPANS = mark(
    AWKWARD, ("Лаборатория Касперского", "ORG"), ("Turla", "HACKER"), ("Заря", "DEVICE"), ("Туле", "LOC"),
    ("DIR-300", "DEVICE"), ("Windows 7", "PROGRAM"), ("Microsoft Office", "PROGRAM"), ("роутер", "DEVICE"),
    ("🔒", "TECH"),
)  # fmt: skip
FLAT = [Document("один", AWKWARD, SPANS), Document("b/два", "Ни одной сущности здесь нет."), Document("три", "")]


def texts_and_spans(documents: list[Document]) -> list[tuple[str, str, tuple[Span, ...]]]:
    return [(document.id, document.text, document.spans) for document in documents]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["brat", "conll", "jsonl", "hf", "parquet"])
def test_flat_documents_come_back_character_for_character(tmp_path: Path, kind: str, scheme: str) -> None:
    counts = Counts()
    options = {"scheme": scheme, "parquet": kind == "parquet"}
    written = write_documents(FLAT, tmp_path, "hf" if kind == "parquet" else kind, counts, **options)  # type: ignore[arg-type]
    assert written == 3 and not +counts
    back = list(read_documents(tmp_path, counts))
    assert sorted(texts_and_spans(back)) == sorted(texts_and_spans(FLAT))


def test_brat_lines_of_every_kind_come_back_byte_for_byte_also_through_jsonl(tmp_path: Path) -> None:
    write_pair(tmp_path / "in", "a", BRAT_TEXT, BRAT_ANN)
    write_pair(tmp_path / "in", "sub/b", AWKWARD, "")
    write_pair(tmp_path / "in", "no_end", "Тула", "T1\tLOC 0 4\tТула")
    counts = Counts()
    write_documents(read_brat(tmp_path / "in", counts), tmp_path / "same", "brat", counts)
    write_documents(read_brat(tmp_path / "in", counts), tmp_path / "jsonl", "jsonl", counts)
    write_documents(read_documents(tmp_path / "jsonl", counts), tmp_path / "back", "brat", counts)
    assert tree(tmp_path / "same") == tree(tmp_path / "in") == tree(tmp_path / "back")


def test_fragments_are_covered_and_overlaps_are_kept_until_tags_must_hold_them(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", BRAT_TEXT, BRAT_ANN)
    counts = Counts()
    [document] = read_brat(tmp_path, counts)
    assert counts[COVERED] == 1
    assert Span(0, 23, "VIRUS") in document.spans and Span(50, 56, "LOC") in document.spans
    write_documents([document], tmp_path / "conll", "conll", counts)
    assert counts["nested or overlapping spans left out (the longest stays)"] == 2  # Petya, and Россия in the bank
    [flat] = read_documents(tmp_path / "conll", counts)
    assert set(document.spans) - set(flat.spans) == {Span(7, 12, "VIRUS"), Span(50, 56, "LOC")}


def test_mapping_renames_and_drops_spans_with_all_that_refers_to_them(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", BRAT_TEXT, BRAT_ANN)
    counts = Counts()
    mapping = LabelMapping(merge={"VIRUS": "MALWARE"}, drop=("ORG",))
    [document] = mapping.apply(read_brat(tmp_path, counts), counts)
    assert {span.label for span in document.spans} == {"MALWARE", "LOC", "Attack"}
    assert counts["spans of VIRUS counted as MALWARE"] == 2 and counts["spans of ORG dropped by the mapping"] == 1
    left = [line.partition("\t")[0] for line in document.annotations if line]
    # The event has the dropped bank as target; its attributes go with it; the note on the nested LOC stays.
    assert left == ["T1", "T2", "T4", "T5", "T6", "#1", "*"]
    write_documents([document], tmp_path / "out", "brat", counts)
    [again] = read_brat(tmp_path / "out", counts)
    assert again.spans == document.spans and again.annotations == document.annotations


def test_a_changed_document_is_written_from_its_spans(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", BRAT_TEXT, BRAT_ANN)
    counts = Counts()
    [document] = read_brat(tmp_path, counts)
    changed = Document("a", document.text, (Span(7, 12, "VIRUS", 0.75),), document.annotations)
    write_documents([changed], tmp_path / "out", "brat", counts)
    assert counts["documents whose relations and notes were left out, as their spans had changed"] == 1
    ann = (tmp_path / "out" / "a.ann").read_text(encoding="utf-8")
    assert ann == "T1\tVIRUS 7 12\tPetya\n#1\tAnnotatorNotes T1\tconfidence 0.750\n"


@pytest.mark.parametrize(
    ("recount", "words"),
    [
        (lambda text: text.replace("\r\n", "\n"), "CR LF as one character"),
        (lambda text: "".join("xx" if ord(sign) > 0xFFFF else sign for sign in text), "UTF-16 units"),
    ],
)
def test_other_ways_of_counting_offsets_are_recognised(
    tmp_path: Path, recount: Callable[[str], str], words: str
) -> None:
    counted = recount(AWKWARD)
    lines = []
    for number, span in enumerate(SPANS):
        if "🔒" in AWKWARD[span.start : span.end]:
            continue
        word = AWKWARD[span.start : span.end]
        start = counted.index(word)
        lines.append(f"T{number}\t{span.label} {start} {start + len(word)}\t{word}\n")
    write_pair(tmp_path, "a", AWKWARD, "".join(lines))
    counts = Counts()
    [document] = read_brat(tmp_path, counts)
    assert document.spans == tuple(span for span in SPANS if span.label != "TECH")
    assert [key for key in counts if words in key]


def test_conll_of_others_is_read_with_and_without_document_marks(tmp_path: Path) -> None:
    plain = tmp_path / "plain.conll"
    plain.write_text("Иван NN B-PER\nПетров NN I-PER\n. . O\n\nТула NN S-LOC\n", encoding="utf-8")
    counts = Counts()
    first, second = read_documents(plain, counts)
    assert (first.text, first.spans) == ("Иван Петров .", (Span(0, 11, "PER"),))
    assert (second.text, second.spans) == ("Тула", (Span(0, 4, "LOC"),))
    assert counts["sentences of files without document marks, each taken as a document"] == 2
    marked = tmp_path / "marked.conll"
    marked.write_text("-DOCSTART- -X- O O\n\n" + plain.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    [document] = read_documents(marked, Counts())
    assert document.text == "Иван Петров .\nТула" and document.spans == (Span(0, 11, "PER"), Span(14, 18, "LOC"))
    write_documents([document], tmp_path / "again", "conll", Counts())
    [again] = read_documents(tmp_path / "again", Counts())
    assert (again.tokens, again.spans, again.text) == (document.tokens, document.spans, document.text)


def test_rows_of_others_are_read_with_numbers_or_names(tmp_path: Path) -> None:
    row = {"tokens": ["Иван", "в", "Туле"], "ner_tags": [1, 0, 3]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "labels.json").write_text('["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]', encoding="utf-8")
    [document] = read_documents(tmp_path, Counts())
    assert (document.text, document.spans) == ("Иван в Туле", (Span(0, 4, "PER"), Span(7, 11, "LOC")))
    row = {"tokens": ["Тула"], "tags": ["S-LOC"]}
    (tmp_path / "other.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert [document.spans for document in read_documents(tmp_path / "other.jsonl", Counts())] == [(Span(0, 4, "LOC"),)]
    (tmp_path / "labels.json").unlink()
    with pytest.raises(SlonikError, match=r"train\.jsonl, line 1: the tags are numbers without names"):
        list(read_documents(tmp_path, Counts()))


def test_parquet_names_its_tags_for_the_datasets_library(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    write_documents(FLAT, tmp_path, "hf", Counts(), parquet=True)
    schema = parquet.read_schema(tmp_path / "data.parquet")
    feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"]["ner_tags"]["feature"]
    assert feature["_type"] == "ClassLabel" and feature["names"][:3] == ["O", "B-DEVICE", "I-DEVICE"]
    assert str(schema.field("ner_tags").type).startswith("list<") and "int64" in str(schema.field("ner_tags").type)


def test_jsonl_of_other_tools_is_read(tmp_path: Path) -> None:
    path = tmp_path / "doccano.jsonl"
    path.write_text('{"text": "Иван в Туле", "label": [[7, 11, "LOC"], [0, 4, "PER"]]}\n', encoding="utf-8")
    [document] = read_documents(path, Counts())
    assert document.id == "1" and document.spans == (Span(0, 4, "PER"), Span(7, 11, "LOC"))


def test_objects_of_prodigy_and_doccano_are_read_with_their_tokens(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    tokens = [{"text": "Иван", "start": 0, "end": 4, "id": 0}, {"text": "в", "start": 5, "end": 6, "id": 1}]
    prodigy = {"text": "Иван в", "tokens": tokens, "spans": [{"start": 0, "end": 4, "label": "PER", "token_start": 0}]}
    doccano = {"text": "Иван в", "entities": [{"id": 7, "label": "PER", "start_offset": 0, "end_offset": 4}]}
    rows = [json.dumps(row, ensure_ascii=False) for row in (prodigy, doccano)]
    path.write_text("\n".join(rows), encoding="utf-8")
    first, second = read_documents(path, Counts())
    assert first.spans == second.spans == (Span(0, 4, "PER"),)
    assert first.tokens == ((0, 4), (5, 6)) and second.tokens == ()


def test_comments_of_other_tools_are_no_tokens(tmp_path: Path) -> None:
    path = tmp_path / "multiconer.conll"
    path.write_text("# id 12 domain=ru\n# О\nИван _ _ B-PER\n# _ _ O\n", encoding="utf-8")
    [document] = read_documents(path, Counts())
    assert (document.text, document.spans) == ("Иван #", (Span(0, 4, "PER"),))


def test_a_label_with_a_space_can_be_read_back_from_brat(tmp_path: Path) -> None:
    counts = Counts()
    write_documents([Document("a", "Тула", (Span(0, 4, "Место жительства"),))], tmp_path, "brat", counts)
    [back] = read_documents(tmp_path, Counts())
    assert back.spans == (Span(0, 4, "Место_жительства"),) and +counts == {
        "labels with spaces written with _ instead": 1
    }


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        ("T1\tLOC 0 4\tТула\nT2\tLOC 90 94\tТула\n", r"a\.ann, line 2: T2 LOC ends at 94, and the text has 11 char"),
        ("T1\tLOC 7 11\tМосква\n", r"a\.ann, line 1: T1 LOC quotes 'Москва', but characters 7 to 11 .* are 'Туле'"),
        ("T1\tLOC 7\tТуле\n", r"a\.ann, line 1: .* is not a text-bound annotation"),
        ("T1\tLOC 7 7\t\n", r"a\.ann, line 1: T1 goes from 7 7"),
    ],
)
def test_broken_brat_is_named(tmp_path: Path, ann: str, message: str) -> None:
    write_pair(tmp_path, "a", "Иван в Туле" if "7" in ann.split("\t")[1] else "Тула, Тула.", ann)
    with pytest.raises(SlonikError, match=message):
        list(read_brat(tmp_path, Counts()))


def test_missing_texts_other_encodings_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"holds no \.ann"):
        list(read_brat(tmp_path, Counts()))
    (tmp_path / "a.ann").write_text("", encoding="utf-8")
    with pytest.raises(SlonikError, match=r"a\.txt is missing"):
        list(read_brat(tmp_path, Counts()))
    (tmp_path / "a.txt").write_bytes("первая строка\nвторая строка".encode("cp1251"))
    with pytest.raises(SlonikError, match=r"a\.txt, line 1: not UTF-8; it looks like cp1251"):
        list(read_brat(tmp_path, Counts()))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.conll", "Иван\n", "a.conll, line 1: 'Иван' has one column"),
        ("a.conll", "Иван B-PER\nПетров NN\n", "a.conll, line 2: 'NN' is not a tag"),
        ("a.conll", "\n", "holds no token"),
        ("a.jsonl", "{}\n", "a.jsonl, line 1: no text"),
        ("a.jsonl", '{"text": "Тула", "spans": [{"start": 0, "end": 9, "label": "LOC"}]}', "outside its text of 4"),
        ("a.jsonl", '{"text": "Тула", "spans": [{"start": 0, "end": 2, "label": "A", "text": "х"}]}', "quotes 'х'"),
        ("a.jsonl", '{"tokens": ["а"], "ner_tags": []}', "1 tokens and 0 tags"),
        ("a.jsonl", '{"tokens": [1], "ner_tags": ["O"]}', "line 1: 1, tagged O, is not a token"),
        ("a.jsonl", '{"tokens": [""], "ner_tags": ["B-A"]}', "line 1: '', tagged B-A, is not a token"),
        ("a.jsonl", '{"tokens": ["а"], "ner_tags": ["O"], "text": "а", "offsets": [[0]]}', "do not fit each other"),
        ("a.jsonl", '{"tokens": ["а"], "ner_tags": ["O"], "text": "а", "offsets": 7}', "do not fit each other"),
        ("a.jsonl", '{"text": "Тула", "tokens": [1]}', "line 1: the tokens must be"),
        ("a.jsonl", '{"text": "Тула", "tokens": [[0, 9]]}', "line 1: the tokens must be"),
        ("a.jsonl", '{"text": "Тула", "brat": 5}', "line 1: brat must be"),
        ("a.jsonl", '{"text": "Тула", "spans": [[0, 4, "A\\tB"]]}', "holds a tab"),
        ("a.jsonl", "", "holds no document"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SlonikError, match=message):
        list(read_documents(path, Counts()))


def test_formats_are_guessed(tmp_path: Path) -> None:
    for kind in ("brat", "conll", "jsonl", "hf"):
        write_documents(FLAT, tmp_path / kind, kind, Counts())
        assert guess_format(tmp_path / kind) == kind
    with pytest.raises(SlonikError, match="there is no"):
        guess_format(tmp_path / "nothing")


def test_a_mapping_comes_from_a_recipe_or_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("mapping:\n  drop: [MEDIA]\nfolds: 5\n", encoding="utf-8")
    assert read_mapping(path).drop == ("MEDIA",)
    path.write_text("merge: {A: B}\n", encoding="utf-8")
    assert read_mapping(path).label("A") == "B"
    path.write_text("mapping:\n  merge: {A: B}\n  drop: [A]\n", encoding="utf-8")
    with pytest.raises(SlonikError, match="merged and dropped"):
        read_mapping(path)
    for written in ("drop", "[MEDIA]"):
        path.write_text(f"mapping: {written}\n", encoding="utf-8")
        with pytest.raises(SlonikError, match="it has the fields merge, drop and overlaps"):
            read_mapping(path)


def test_lines_of_an_ann_that_are_no_annotation_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Тула", encoding="utf-8")
    (tmp_path / "a.ann").write_text("T1\tLOC 0 4\tТула\n#1\tAnnotatorNotes T1\tcity\nhello\n\n", encoding="utf-8")
    counts = Counts()
    [document] = read_documents(tmp_path, counts)
    assert document.spans == (Span(0, 4, "LOC"),) and counts == {"lines of .ann files that are no annotation": 1}
    counts.clear()
    (tmp_path / "a.ann").write_text(
        "T1\tLOC 0 4\tТула\nT1\tORG 0 4\tТула\n#1\tNote T1\tx\n#1\tNote T1\ty\n", encoding="utf-8"
    )
    [document] = read_documents(tmp_path, counts)
    assert len(document.spans) == 2 and counts == {NAMED_TWICE: 1}
    counts.clear()
    write_documents([Document("a", "Тула", (Span(0, 4, "LOC"),))], tmp_path / "brat", "brat", counts)
    assert not counts  # nothing is said of what did not happen


def test_tags_that_begin_loosely_and_labels_that_no_text_has_are_counted(tmp_path: Path) -> None:
    loose = "tags I- or E- with no entity of their label before them, at which one begins"
    (tmp_path / "a.conll").write_text("В O\nТуле I-LOC\nи O\nОмске B-LOC\nИван I-PER\nКим I-PER\n", encoding="utf-8")
    counts = Counts()
    [document] = read_documents(tmp_path / "a.conll", counts)
    assert [span.label for span in document.spans] == ["LOC", "LOC", "PER"] and counts[loose] == 2
    row = {"tokens": ["Тула", "Омск"], "ner_tags": ["E-LOC", "O"]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    counts.clear()
    [document] = read_documents(tmp_path / "a.jsonl", counts)
    assert document.spans == (Span(0, 4, "LOC"),) and counts[loose] == 1
    mapping = LabelMapping(merge={"ORGANISATION": "ORG"}, drop=("LOC", "SHIP"))
    _, counts = convert(tmp_path / "a.conll", tmp_path / "out", "jsonl", mapping=mapping)
    assert counts["labels that the mapping names and no text has: ORGANISATION, SHIP"] == 2
    assert counts["spans of LOC dropped by the mapping"] == 2


@pytest.mark.shared_data
def test_the_security_collection_survives_every_format(shared_data: Path, tmp_path: Path) -> None:
    counts = Counts()
    documents = list(read_brat(shared_data / "seccoll", counts))
    assert len(documents) == 663 and sum(len(document.spans) for document in documents) == 12317
    assert counts["annotations repeated on the same words with the same label"] == 1
    write_documents(documents, tmp_path / "brat", "brat", counts)
    assert tree(tmp_path / "brat") == tree(shared_data / "seccoll")
    for kind in ("conll", "hf"):
        counts.clear()
        write_documents(documents, tmp_path / kind, kind, counts, scheme="BIOES")
        back = list(read_documents(tmp_path / kind, counts))
        lost = set(counts)
        assert lost == {"nested or overlapping spans left out (the longest stays)"}
        assert sum(len(document.spans) for document in back) == 12316
        assert [document.text for document in back] == [document.text for document in documents]
