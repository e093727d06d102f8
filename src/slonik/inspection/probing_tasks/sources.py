"""What probing tasks are built from: treebanks as they are, other texts through the annotator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_file
from slonik.core.progress import track
from slonik.data.conllu import Sentence, is_conllu, read_conllu
from slonik.data.readers import corpus_files, read_texts
from slonik.inspection.probing_tasks.noise import label_errors


def open_sources(
    paths: Sequence[Path], *, share: float = 1.0, seed: int = 0, gold: Sequence[Path] = ()
) -> tuple[Iterator[Sentence], dict[str, Any]]:
    """A stream of annotated sentences, and what the manifest says about where they come from.

    Args:
        paths: treebanks (.conllu), or texts in any format that `read_texts` knows. share: share of the texts to
            annotate, chosen by hash. gold: treebanks to estimate the annotator's errors on; of no use for treebanks.

    Raises:
        SlonikError: treebanks and texts together, a missing file, a folder in place of a treebank, or a share outside
            (0, 1].
    """
    if not paths:
        raise SlonikError("give a treebank (.conllu) or a text")
    if not 0 < share <= 1:
        raise SlonikError(f"--share is {share}: give a number above 0 and at most 1")
    treebanks = [is_conllu(path) for path in paths]
    if any(treebanks) and not all(treebanks):
        raise SlonikError("treebanks and plain texts cannot be mixed in one build: gold and automatic labels differ")
    for path in [*(paths if all(treebanks) else ()), *gold]:
        if not path.is_file():
            raise SlonikError(f"there is no treebank {path}: give a file in CoNLL-U")
    files = list(paths) if all(treebanks) else corpus_files(list(paths))
    facts: dict[str, Any] = {"sources": {path.name: sha256_file(path) for path in files}}
    if all(treebanks):
        if gold:
            raise SlonikError("--gold estimates the errors of automatic annotation: it goes with plain texts")
        return read_conllu(files), facts | {"annotation": "the treebank's own"}
    from slonik.inspection.probing_tasks.annotator import Annotator

    annotator = Annotator()
    facts |= {"annotation": annotator.name, "share": share}
    if gold:
        facts["gold"] = {path.name: sha256_file(path) for path in gold}
        facts["label_errors"] = label_errors(read_conllu(list(gold)), annotator)
    texts = (text for text in read_texts(files) if share == 1 or _drawn(seed, text, share))
    return annotator.sentences(track(texts, "annotating texts")), facts


def head(sentences: Iterator[Sentence], limit: int | None) -> Iterator[Sentence]:
    """At most `limit` sentences.

    Raises:
        SlonikError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise SlonikError(f"--limit is {limit}: give 1 or more, or leave it out")
    return itertools.islice(sentences, limit)


def _drawn(seed: int, text: str, share: float) -> bool:
    return derive_seed(seed, "share", text) < share * 2**63
