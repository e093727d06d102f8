"""What a training takes from outside its annotated texts: lists of names, other names in their places, other texts.

Reads the files that a `System` names; what is made of them is the taggers'. Files decide the weights by what they hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.identity import Identity, checkpoint_identity, corpus_identity, file_identity
from slonik.data.annotations.document import Counts, Document
from slonik.data.readers import FORMATS, read_texts
from slonik.models.kinds import resolve
from slonik.runtime.tagging.names import Key
from slonik.tagging.config import First, Substitution, System
from slonik.tagging.data import read_collection
from slonik.tagging.gazetteers import Introductions, gazetteer_keys, merged, names_in_documents, read_gazetteers
from slonik.tagging.inflection import Inflector
from slonik.tagging.models.slovnet_tagger import SLOVNET, slovnet_identity
from slonik.tagging.substitution import substituted


@dataclass(frozen=True)
class Outside:
    """What one training takes from outside.

    Attributes:
        lists: names as the taggers' lists count them, a mapping a label.
        copies: lines of the training texts with other names in the places of theirs.
        first: annotated texts of another kind, with the labels of the tagger.
        counts: what was read, and left out, as words -> how often.
    """

    lists: Sequence[Mapping[Key, str]] = ()
    copies: Sequence[Document] = ()
    first: Sequence[Document] = ()
    counts: Counts = field(default_factory=Counter)


def read_outside(system: System, labels: Sequence[str], documents: Sequence[Document], seed: int) -> Outside:
    """What `system` takes from outside.

    Args:
        labels: of the tagger. documents: that it is fitted to. seed: of what is drawn.

    Raises:
        SlonikError: a file is missing or holds nothing, a label that the tagger does not know.
        MissingExtra: pymorphy3, which inflects, is not installed.
    """
    counts: Counts = Counter()
    lists: list[dict[Key, str]] = []
    copies: list[Document] = []
    named = read_gazetteers(system.gazetteers, labels, counts)
    if named or system.substitution is not None:
        inflector = Inflector()
        lists = gazetteer_keys(named, inflector)
        if named:
            counts["names of gazetteers"] = sum(len(names) for names in named.values())
        if system.substitution is not None:
            copies = _copies(system.substitution, named, labels, documents, inflector, seed, counts)
            counts["documents with names substituted"] = len(copies)
    first = _first(system.first, labels, counts) if system.first is not None else []
    return Outside(lists, copies, first, counts)


def _copies(
    wanted: Substitution,
    named: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    documents: Sequence[Document],
    inflector: Inflector,
    seed: int,
    counts: Counts,
) -> list[Document]:
    found: dict[str, list[str]] = {}
    if wanted.unlabelled:
        found = Introductions.of(documents).names(read_texts(wanted.unlabelled))
        counts["names that unlabelled texts introduce"] = sum(len(names) for names in found.values())
    outside = merged(named, found)
    chosen = sorted(outside) if wanted.labels is None else wanted.labels
    check_substituted(chosen, labels)
    own = names_in_documents(documents) if wanted.from_texts else {}
    pools = {
        label: [name for name in merged(outside, own).get(label, []) if inflector.is_nominative(name)]
        for label in chosen
    }
    return substituted(documents, pools, inflector, copies=wanted.copies, share=wanted.share, seed=seed)


def check_substituted(chosen: Sequence[str], labels: Sequence[str]) -> None:
    """Hold the labels whose names are to be replaced to those that there are.

    Raises:
        SlonikError: one is none of them.
    """
    strange = sorted(set(chosen) - set(labels))
    if strange:
        raise SlonikError(
            f"names of {strange[0]!r} are to be replaced, and no training text has this label: {', '.join(labels)}"
        )


def _first(first: First, labels: Sequence[str], counts: Counts) -> list[Document]:
    """The documents to train on before, with the spans whose labels the tagger knows."""
    collection = read_collection(first.data, first.format, first.mapping)
    counts.update({f"{sentence} (of the texts before)": count for sentence, count in collection.counts.items()})
    documents = []
    for document in collection.documents:
        spans = tuple(span for span in document.spans if span.label in labels)
        counts["spans of other labels left out of the texts before"] += len(document.spans) - len(spans)
        documents.append(Document(document.id, document.text, spans))
    if not any(document.spans for document in documents):
        raise SlonikError(
            f"{first.data} has no span of {', '.join(labels)}: say in first.mapping which of its labels become these"
        )
    return documents


def beside_recipe(system: System, recipe: str | Path | Mapping[str, Any] | None) -> System:
    """The system with gazetteers that lie beside the recipe file that names them, where they are not in this folder."""
    if not system.gazetteers or not isinstance(recipe, str | Path):
        return system
    folder = Path(recipe).parent

    def place(path: str) -> str:
        return path if Path(path).exists() or not (folder / path).exists() else str(folder / path)

    found = {label: tuple(place(path) for path in paths) for label, paths in system.gazetteers.items()}
    return system.model_copy(update={"gazetteers": found})


def files_outside(system: System) -> list[str]:
    """The files and folders that a system reads beside its annotated texts, its model and its teacher."""
    found = [path for paths in system.gazetteers.values() for path in paths]
    found += system.substitution.unlabelled if system.substitution is not None else ()
    found += [system.first.data] if system.first is not None else []
    return found + [adviser for adviser in system.hand.advisers if adviser != SLOVNET]


def outside_identities(system: System) -> dict[str, str]:
    """What is read from outside -> its identity.

    Raises:
        SlonikError: a file is missing.
    """
    found: dict[str, str] = {}
    if system.gazetteers:
        files = [(label, path) for label, paths in sorted(system.gazetteers.items()) for path in paths]
        missing = next((path for _, path in files if not Path(path).is_file()), None)
        if missing is not None:
            raise SlonikError(f"there is no gazetteer {missing}: give a text file with a name a line")
        found["gazetteers"] = Identity.of({f"{label} {path}": file_identity(path) for label, path in files})
    if system.substitution is not None and system.substitution.unlabelled:
        found["names' texts"] = corpus_identity(system.substitution.unlabelled, suffixes=FORMATS)
    if system.first is not None:
        collection = read_collection(system.first.data, system.first.format, system.first.mapping)
        found["first"] = collection.identity()
    for number, adviser in enumerate(system.hand.advisers):
        found[f"adviser {number + 1}"] = (
            slovnet_identity()
            if adviser == SLOVNET and not Path(adviser).is_dir()
            else checkpoint_identity(resolve(adviser))
        )
    return found
