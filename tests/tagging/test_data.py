"""Annotated documents: read and given alike, mapped, dealt to folds by seed, rare labels in every one they reach."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document, LabelMapping, Span
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.tagging.data import (
    Collection,
    document_folds,
    missing_labels,
    read_collection,
    read_training_texts,
    text_key,
    write_training_texts,
)
from tests.tagging.models import toys


def collection(size: int = 103) -> list[Document]:
    rng = random.Random(1)
    documents = []
    for index in range(size):
        labels = ["ORG"] * rng.randint(0, 9) + ["LOC"] * rng.randint(0, 3)
        if index in (3, 50, 60, 61, 80, 99):
            labels.append("HACKER")
        spans = tuple(Span(place, place + 1, label) for place, label in enumerate(labels))
        documents.append(Document(f"d{index}", "т" * 20, spans))
    return documents


def test_every_document_is_in_one_fold_and_folds_are_of_like_size() -> None:
    documents = collection()
    folds = document_folds(documents, 5, seed=0)
    assert sorted(index for fold in folds for index in fold) == list(range(len(documents)))
    assert max(map(len, folds)) - min(map(len, folds)) <= 4


def test_labels_are_dealt_evenly_rare_ones_too() -> None:
    documents = collection()
    folds = document_folds(documents, 5, seed=0)
    for label, spread in (("HACKER", 1), ("LOC", 3), ("ORG", 12)):
        sizes = [sum(span.label == label for index in fold for span in documents[index].spans) for fold in folds]
        assert max(sizes) - min(sizes) <= spread, (label, sizes)
        assert min(sizes) > 0
    assert missing_labels(documents, folds, Counts()) == []


def test_folds_depend_on_the_seed_and_not_on_the_order() -> None:
    documents = collection()
    names = [{documents[index].id for index in fold} for fold in document_folds(documents, 5, seed=0)]
    turned = documents[::-1]
    assert [{turned[index].id for index in fold} for fold in document_folds(turned, 5, seed=0)] == names
    assert [{documents[index].id for index in fold} for fold in document_folds(documents, 5, seed=1)] != names


def test_a_fold_without_a_class_is_said() -> None:
    documents = [Document(str(index), "текст", (Span(0, 5, "A" if index else "B"),)) for index in range(6)]
    folds = document_folds(documents, 3, seed=0)
    [sentence] = missing_labels(documents, folds, Counts())
    assert sentence.startswith("B is in no document of fold") and "nothing to learn it from" in sentence


@pytest.mark.parametrize(("folds", "message"), [(1, "at least 2"), (7, "6 documents cannot make 7 folds")])
def test_impossible_numbers_of_folds_are_refused(folds: int, message: str) -> None:
    with pytest.raises(SlonikError, match=message):
        document_folds(collection(6), folds, seed=0)


def test_collections_are_mapped_flattened_and_counted(tmp_path: Path) -> None:
    write_spans_jsonl(toys.documents(), tmp_path / "data.jsonl")
    mapping = LabelMapping(merge={"VIRUS": "HACKER"}, drop=("LOC",))
    found = read_collection(tmp_path / "data.jsonl", None, mapping)
    assert found.labels == ["HACKER", "ORG", "PER"]
    assert sum(found.counts.values()) == 8
    with pytest.raises(SlonikError, match="no annotated span"):
        read_collection(tmp_path / "data.jsonl", None, LabelMapping(drop=toys.LABELS.classes))


def test_documents_and_rows_in_memory_are_as_good_as_files(tmp_path: Path) -> None:
    write_spans_jsonl(toys.documents(), tmp_path / "data.jsonl")
    rows = [
        {"id": one.id, "text": one.text, "spans": [[span.start, span.end, span.label] for span in one.spans]}
        for one in toys.documents()
    ]

    def read(data: object) -> Collection:
        return read_collection(data, None, LabelMapping())

    wanted = read(tmp_path / "data.jsonl")
    for given in (toys.documents(), iter(toys.documents()), rows):
        found = read(given)
        assert found.documents == wanted.documents and found.identity() == wanted.identity()
    with pytest.raises(SlonikError, match=r"row 1: the span ORG 0 to 99 is outside its text"):
        read([{"text": "текст", "spans": [[0, 99, "ORG"]]}])
    with pytest.raises(SlonikError, match="row 2 is 5: give documents"):
        read([rows[0], 5])


def test_identity_is_ids_texts_spans_and_their_order() -> None:
    documents = toys.documents()

    def identity(changed: list[Document]) -> str:
        return Collection(changed, Counts()).identity()

    first = documents[0]
    others = [
        [Document("other", first.text, first.spans), *documents[1:]],
        [Document(first.id, first.text + " ", first.spans), *documents[1:]],
        [Document(first.id, first.text, first.spans[1:]), *documents[1:]],
        documents[::-1],
        documents[1:],
    ]
    assert len({identity(changed) for changed in [documents, *others]}) == 6
    assert identity(documents) == identity(toys.documents())
    twice = [Document("1", "а"), Document("1", "б")]
    assert len(Collection(twice, Counts()).identity().parts) == 2


def test_training_texts_are_known_again_with_those_of_their_sources(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_training_texts(tmp_path / "a", ["раз", "\ud800"])
    write_training_texts(tmp_path / "b", ["два"], also_of=[tmp_path / "a", tmp_path / "none"])
    assert read_training_texts(tmp_path / "b") == {text_key(text) for text in ("раз", "\ud800", "два")}
    assert read_training_texts(tmp_path / "none") == frozenset()
