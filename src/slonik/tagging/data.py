"""Annotated texts made fit for taggers, and the examples that a tagger trains on.

Reads, maps and flattens annotations, counting what was changed; divides documents; turns them into windows with labels
and, for distillation, the teacher's probabilities. Trains nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_texts
from slonik.data.annotations.document import Counts, Document, LabelMapping, Span
from slonik.data.annotations.formats import read_documents
from slonik.data.annotations.tags import flat_spans
from slonik.tagging.models.bio import BioLabels
from slonik.tagging.models.neural_tagger import Features
from slonik.tagging.objective import NO_LABEL

Example = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Collection:
    """Documents with flat spans of mapped labels.

    Attributes:
        documents: in order of names.
        counts: what was read, mapped, left out, as sentences -> how often.
        key: hash of texts and spans.
    """

    documents: list[Document]
    counts: Counts
    key: str

    @property
    def labels(self) -> list[str]:
        """The labels there are, sorted."""
        return sorted({span.label for document in self.documents for span in document.spans})


def read_collection(path: str, kind: str | None, mapping: LabelMapping) -> Collection:
    """The annotated texts of a file or folder.

    Raises:
        SlonikError: as the readers do; no span is left.
    """
    counts: Counts = Counter()
    documents = [
        replace(document, spans=flat_spans(document, mapping.overlaps, counts))
        for document in mapping.apply(read_documents(path, counts, kind=kind), counts)
    ]
    if not any(document.spans for document in documents):
        raise SlonikError(f"{path} has no annotated span: a tagger has nothing to learn from it")
    return Collection(documents, counts, _key(documents))


def _key(documents: Iterable[Document]) -> str:
    parts = []
    for document in documents:
        parts += [document.text, repr([(span.start, span.end, span.label) for span in document.spans])]
    return sha256_texts(parts)


def hold_out(documents: Sequence[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """(documents to fit, documents that choose the checkpoint): whole documents, drawn by seed, at least one each.

    Raises:
        SlonikError: fewer than two documents.
    """
    if len(documents) < 2:
        raise SlonikError("one annotated document cannot be divided: give at least two, one chooses the checkpoint")
    order = np.random.default_rng(derive_seed(seed, "stopping")).permutation(len(documents))
    size = min(len(documents) - 1, max(1, round(share * len(documents))))
    held = set(order[:size].tolist())
    fit = [document for number, document in enumerate(documents) if number not in held]
    return fit, [documents[number] for number in sorted(held)]


def labelled_examples(
    documents: Sequence[Document],
    features: Features,
    labels: BioLabels,
    teacher: Sequence[NDArray[Any]] | None = None,
) -> list[Example]:
    """Windows of annotated documents with `tags`, and `teacher` (W, L) where it is given per document."""
    examples: list[Example] = []
    for number, document in enumerate(documents):
        words = features.split(document.text)
        tags = labels.encode(document.spans, words)
        soft = teacher[number] if teacher is not None else None
        examples += _windows(document.text, words, features, tags, soft, document.spans)
    return examples


def unlabelled_examples(texts: Sequence[str], features: Features, teacher: Sequence[NDArray[Any]]) -> list[Example]:
    """Windows of texts with `teacher` (W, L) and no labels."""
    examples: list[Example] = []
    for text, soft in zip(texts, teacher, strict=True):
        words = features.split(text)
        examples += _windows(text, words, features, np.full(len(words), NO_LABEL), soft)
    return examples


def _windows(
    text: str,
    words: list[tuple[int, int]],
    features: Features,
    tags: NDArray[np.int64],
    teacher: NDArray[Any] | None,
    own: Sequence[Span] | None = None,
) -> list[Example]:
    found: list[Example] = []
    for window in features.windows(text, words, overlap=0, own=own):
        owned = slice(window.first, window.stop)
        own_tags = tags[owned].astype(np.int16)
        if own_tags[0] > 0 and own_tags[0] % 2 == 0:
            own_tags[0] -= 1  # a window that begins inside an entity begins one: BIO has no I at the start
        extra = {"tags": own_tags} | ({} if teacher is None else {"teacher": np.asarray(teacher[owned])})
        found.append({**window.fields, **extra})
    return found


def exact_f1(gold: Sequence[Document], predicted: Sequence[Sequence[Span]]) -> float:
    """Micro F1 of exactly equal (start, end, label); 0 where there is nothing right."""
    right = wanted = given = 0
    for document, spans in zip(gold, predicted, strict=True):
        truth = {(span.start, span.end, span.label) for span in document.spans}
        said = {(span.start, span.end, span.label) for span in spans}
        right, wanted, given = right + len(truth & said), wanted + len(truth), given + len(said)
    return 2 * right / (wanted + given) if wanted + given else 0.0
