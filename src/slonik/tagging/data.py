"""Annotated documents made fit for taggers: read or given, mapped, flattened, divided, and known again.

What was changed on the way is counted. Documents are never divided: the sentences of one text stand on one side. Which
texts a tagger was trained on lies as hashes beside it, so that nobody scores it on them by mistake. Nothing here knows
tokens or networks.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from slonik.core.config import build_config
from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import derive_seed, sha256_bytes, sha256_json
from slonik.core.identity import Identity, free_name
from slonik.core.run import Announce
from slonik.data.annotations.document import Counts, Document, LabelMapping, noting_labels, read_mapping
from slonik.data.annotations.formats import read_documents
from slonik.data.annotations.rows import document_of_row
from slonik.data.annotations.tags import flat_spans, trimmed_spans

Annotated: TypeAlias = str | Path | Iterable[Document | Mapping[str, Any]] | Any
"""A file or folder of BRAT, CoNLL, JSONL or Hugging Face rows; or documents, or rows with `text` and `spans`: mappings,
or a data frame."""

_PLAIN = re.compile(r"[\W_]+")
_LONG_LINE = 30  # letters and digits
TRAINING_TEXTS = "training_texts.json"
_DIGITS = 16  # of a text's hash: enough to tell texts apart, too few to matter for size


@dataclass(frozen=True)
class Collection:
    """Documents with flat spans of mapped labels.

    Attributes:
        documents: in order of names.
        counts: what was read, mapped, left out, as sentences -> how often.
        met: the labels that the texts have, before the mapping.
    """

    documents: list[Document]
    counts: Counts
    met: frozenset[str] = frozenset()

    @property
    def labels(self) -> list[str]:
        return sorted({span.label for document in self.documents for span in document.spans})

    def identity(self) -> Identity:
        """Of ids, texts and spans, in their order; its parts are the documents."""
        return documents_identity(self.documents)

    def tell(self, announce: Announce) -> None:
        spans = sum(len(document.spans) for document in self.documents)
        announce(f"{len(self.documents):,} documents, {spans:,} spans of {', '.join(self.labels)}")
        for sentence, count in sorted(self.counts.items()):
            announce(f"  {count or 'no'} {sentence}" if count < 1000 else f"  {count:,} {sentence}")


def read_collection(
    data: Annotated, kind: str | None, mapping: LabelMapping, *, nested: bool = False, partial: bool = False,
    bare: bool = False,
) -> Collection:  # fmt: skip
    """Annotated texts with the labels of `mapping` and without overlaps.

    Args:
        kind: format of files: brat, conll, jsonl, ...; None = guess.
        nested: keep spans that overlap.
        partial: what the texts do not mark is unknown, not "no entity".
        bare: texts without any span are read too: somebody found nothing in them.

    Raises:
        SlonikError: as the readers do; no span is left (and not `bare`).
    """
    counts: Counts = Counter()
    read = read_documents(data, counts, kind=kind) if isinstance(data, str | Path) else _given(data, counts)
    met: set[str] = set()
    documents = []
    for document in mapping.apply(noting_labels(read, met), counts):
        spans = (
            trimmed_spans(document.spans, document.text, counts)
            if nested
            else flat_spans(document, mapping.overlaps, counts)
        )
        unknown = ((0, len(document.text)),) if partial and document.text else document.unknown
        documents.append(replace(document, spans=spans, annotations=(), unknown=unknown))
    if partial:
        counts["documents annotated in part, whose unmarked words count as unknown"] += len(documents)
    for label in mapping.unmet(met):
        alike = {one.lower(): one for one in sorted(met)}
        guess = [alike[one] for one in difflib.get_close_matches(label.lower(), alike, 1)]
        counts[f"spans of {label}, which the mapping names" + (f" (did you mean {guess[0]}?)" if guess else "")] = 0
    if not bare and not any(document.spans for document in documents):
        raise SlonikError(
            f"{name_of(data)} has no annotated span{' that the mapping keeps' if met else ''}: there is nothing to "
            "learn from it, and nothing to measure with"
        )
    return Collection(documents, counts, frozenset(met))


def name_of(data: Annotated) -> str:
    """What annotated texts are called in sentences and passports: the path, or how many were given."""
    if isinstance(data, str | Path):
        return str(data)
    size = getattr(data, "__len__", None)
    return f"{size():,} documents given in Python" if size is not None else "the documents given in Python"


def task_of(data: Annotated) -> str:
    """The task of records about annotated texts: the name of their folder or file; "documents" for what was given."""
    if not isinstance(data, str | Path):
        return "documents"
    path = Path(data)
    return (path.resolve().name if path.is_dir() else path.name.partition(".")[0]).lower()


def as_mapping(mapping: str | Path | Mapping[str, Any] | LabelMapping | None) -> LabelMapping:
    """A mapping of labels as it was given: the recipe that says it, its fields, or itself.

    Raises:
        SlonikError: no such file, or a wrong field.
    """
    if isinstance(mapping, Mapping):
        return build_config(LabelMapping, mapping, source="the mapping")
    return mapping if isinstance(mapping, LabelMapping) else read_mapping(mapping)


def _given(data: Any, counts: Counts) -> Iterator[Document]:
    rows = data.to_dict("records") if hasattr(data, "to_dict") else data
    for number, row in enumerate(rows, start=1):
        if isinstance(row, Document):
            yield row
        elif isinstance(row, Mapping):
            document = document_of_row(json.loads(json.dumps(dict(row))), f"row {number}", str(number), counts)
            if document is not None:
                yield document
        else:
            raise SlonikError(f"row {number} is {row!r:.60}: give documents, or mappings with text and spans")


def documents_identity(documents: Iterable[Document]) -> Identity:
    """Identity of ids, texts and spans in their order; its parts are the documents."""
    parts: dict[str, str] = {}
    for number, document in enumerate(documents):
        spans = [[span.start, span.end, span.label] for span in document.spans]
        unknown = [document.unknown] if document.unknown else []
        found = sha256_json([document.id, sha256_bytes(_bytes(document.text)), spans, *unknown])
        parts[free_name(document.id, parts, number)] = found
    return Identity.of(parts)


def hold_out(documents: Sequence[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """(documents to fit, development set): whole documents, drawn by seed, at least one each.

    Raises:
        SlonikError: fewer than two documents.
    """
    if len(documents) < 2:
        raise SlonikError("one annotated document cannot be divided: give at least two, one is the development set")
    order = np.random.default_rng(derive_seed(seed, "stopping")).permutation(len(documents))
    size = min(len(documents) - 1, max(1, round(share * len(documents))))
    held = set(order[:size].tolist())
    fit = [document for number, document in enumerate(documents) if number not in held]
    return fit, [documents[number] for number in sorted(held)]


def document_folds(documents: Sequence[Document], folds: int, seed: int) -> list[list[int]]:
    """Indices of the documents of each fold, ascending; every document is in exactly one.

    Documents are dealt one by one, those with the rarest labels first, each to the fold that lacks its labels most
    (iterative stratification, Sechidis et al. 2011): otherwise 48 hackers in five folds would leave one without any.
    The result depends on the documents' ids, labels and `seed`, not on their order.

    Raises:
        SlonikError: fewer than two folds, or fewer documents than folds.
    """
    if folds < 2:
        raise SlonikError(f"{folds} fold: a cross-validation needs at least 2")
    if len(documents) < folds:
        raise SlonikError(f"{len(documents)} documents cannot make {folds} folds: ask for fewer")
    labels = [Counter(span.label for span in document.spans) for document in documents]
    total: Counter[str] = sum(labels, Counter())
    rng = np.random.default_rng(derive_seed(seed, "folds", folds, len(documents)))
    by_name = sorted(range(len(documents)), key=lambda index: documents[index].id)
    order = [by_name[place] for place in rng.permutation(len(documents))]
    wanted = [Counter({label: count / folds for label, count in total.items()}) for _ in range(folds)]
    room = [len(documents) / folds] * folds
    found: list[list[int]] = [[] for _ in range(folds)]
    left = dict.fromkeys(order)

    def deal(index: int, label: str | None) -> None:
        fold = max(range(folds), key=lambda f: (wanted[f][label] if label else 0.0, room[f], -f))
        found[fold].append(index)
        room[fold] -= 1
        for name, count in labels[index].items():
            wanted[fold][name] -= count
        del left[index]

    for label, _ in sorted(total.items(), key=lambda item: (item[1], item[0])):
        holders = sorted((index for index in left if labels[index][label]), key=lambda index: -labels[index][label])
        for index in holders:
            deal(index, label)
    for index in list(left):
        deal(index, None)
    return [sorted(fold) for fold in found]


def missing_labels(documents: Sequence[Document], folds: Sequence[Sequence[int]], counts: Counts) -> list[str]:
    """A sentence per label that some fold lacks, in test or in training, which is also counted."""
    everywhere = sorted({span.label for document in documents for span in document.spans})
    sentences = []
    for label in everywhere:
        holders = [number for number, fold in enumerate(folds) if _has(documents, fold, label)]
        if len(holders) < len(folds):
            counts["labels absent from a fold"] += 1
            without = [str(number) for number in range(len(folds)) if number not in holders]
            alone = f"; nothing to learn it from when fold {holders[0]} is the test" if len(holders) == 1 else ""
            sentences.append(f"{label} is in no document of fold {', '.join(without)}{alone}")
    return sentences


def _has(documents: Sequence[Document], fold: Iterable[int], label: str) -> bool:
    return any(span.label == label for index in fold for span in documents[index].spans)


def text_key(text: str) -> str:
    """The first digits of the text's SHA-256."""
    return sha256_bytes(_bytes(text))[:_DIGITS]


def line_keys(texts: Iterable[str]) -> frozenset[str]:
    """Keys of the lines of texts that are long enough to be told apart, by their letters and digits alone."""
    lines = (_PLAIN.sub("", line).lower() for text in texts for line in text.splitlines())
    return frozenset(sha256_bytes(_bytes(line))[:_DIGITS] for line in lines if len(line) >= _LONG_LINE)


def write_training_texts(folder: str | Path, texts: Iterable[str], *, also_of: Iterable[str | Path] = ()) -> None:
    """Write the keys of `texts`, and those in the folders `also_of`, into `folder`, sorted."""
    inherited = (read_training_texts(other) for other in also_of)
    write_json(Path(folder) / TRAINING_TEXTS, sorted({text_key(text) for text in texts}.union(*inherited)))


def read_training_texts(folder: str | Path) -> frozenset[str]:
    """The keys in `folder`; empty where the file is not there or not readable: nothing is known then."""
    try:
        content = json.loads((Path(folder) / TRAINING_TEXTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, content)) if isinstance(content, list) else frozenset()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
