"""Folds: whole documents, each once, the same for the same seed, rare labels in every fold that they can reach."""

from __future__ import annotations

import random

import pytest

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document, Span
from slonik.tagging.folds import document_folds, missing_labels


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
