"""Training texts with other names in the places of theirs: what is a name is then told by what stands around it.

The lines that hold names of the chosen labels are copied, and each name is replaced, at every place of the text alike,
by another of its type: from lists, from the other training texts, from unlabelled texts that introduce it. A Russian
name takes the case of the one that it replaces. Copies are looked up in no list of names: all of theirs would be found.

Source: Tikhomirov et al. 2020 (names of viruses and hackers in the security collection); Dai & Adel 2020 (mention
replacement).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from slonik.core.hashing import derive_seed
from slonik.data.annotations.document import Document, Span, flatten
from slonik.tagging.gazetteers import Names
from slonik.tagging.inflection import Inflector

_LINE = re.compile(r"[^\n]*\n?")
_MARK = "substituted"


def substituted(
    documents: Sequence[Document],
    names: Names,
    inflector: Inflector,
    *,
    copies: int = 1,
    share: float = 1.0,
    seed: int = 0,
) -> list[Document]:
    """Copies of the lines that hold names of the labels in `names`, with others of these in their places.

    Args:
        names: label -> names to draw from, in the nominative where they are Russian; labels without two are left alone.
        copies: how many of each line, with different names.
        share: of the names that are replaced; the rest of a copied line stays as it is.

    Returns:
        Documents with flat spans, of lines in which at least one name was replaced; the same seed gives the same ones.
    """
    pools = {label: list(own) for label, own in names.items() if len(own) > 1}
    found = []
    for document in documents:
        for copy in range(copies):
            rng = np.random.default_rng(derive_seed(seed, _MARK, document.id, copy))
            made = _copy(document, pools, inflector, share, rng, f"{document.id} {_MARK} {copy + 1}")
            if made is not None:
                found.append(made)
    return found


def _copy(
    document: Document,
    pools: Mapping[str, Sequence[str]],
    inflector: Inflector,
    share: float,
    rng: np.random.Generator,
    name: str,
) -> Document | None:
    spans = flatten(document.spans)
    chosen: dict[tuple[str, str], str | None] = {}
    text, kept = "", []
    for start, end in _lines(document.text):
        own = [span for span in spans if start <= span.start and span.end <= end]
        line, moved = document.text[start:end], []
        made, at, changed = "", start, False
        for span in own:
            words = document.text[span.start : span.end]
            other = _other(span, words, pools, chosen, share, rng)
            new = words if other is None else inflector.inflected(other, inflector.case_of(words))
            changed |= new != words
            made += document.text[at : span.start]
            moved.append(Span(len(text) + len(made), len(text) + len(made) + len(new), span.label))
            made, at = made + new, span.end
        if changed:
            text += made + line[at - start :]
            kept += moved
    return Document(name, text, tuple(kept)) if kept else None


def _other(
    span: Span,
    words: str,
    pools: Mapping[str, Sequence[str]],
    chosen: dict[tuple[str, str], str | None],
    share: float,
    rng: np.random.Generator,
) -> str | None:
    """The name for `words`, the same at every place; None where it stays."""
    key = (span.label, words)
    if key not in chosen:
        pool = pools.get(span.label)
        drawn = str(pool[int(rng.integers(len(pool)))]) if pool and rng.random() < share else None
        chosen[key] = drawn
    return chosen[key]


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """(start, after the line end) of each line."""
    for match in _LINE.finditer(text):
        if match.end() > match.start():
            yield match.span()
