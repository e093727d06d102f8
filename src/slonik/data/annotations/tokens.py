"""A document as tokens with tags, so that its spans come back exactly: what CoNLL and Hugging Face files hold.

Tokens are the document's own, or `words`; either is divided where a span begins or ends inside it, so that
conversion moves no border. (Taggers never see these cuts: they work on `words` alone.)
"""

from __future__ import annotations

import re
from typing import Any

from slonik.data.annotations.document import Document, Span
from slonik.data.annotations.mapping import Counts
from slonik.data.annotations.overlaps import Policy, flatten
from slonik.data.annotations.tags import Scheme, encode
from slonik.data.annotations.words import Offsets, cut_at, tokenize

_VISIBLE = re.compile(r"[^\s\ufeff\u200b]+")
_TRIMMED = " \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff\u200b" + "".join(
    chr(code) for code in range(0x2000, 0x200B)
)


def offset_pairs(found: Any, length: int) -> list[Offsets] | None:
    """(start, end) of tokens as rows of files have them, as pairs or as objects with start and end (Prodigy).

    Args:
        length: characters of the text.

    Returns:
        None where they are no such thing, lie outside the text, or overlap or go back.
    """
    if not isinstance(found, list):
        return None
    pairs: list[Offsets] = []
    for one in found:
        values = [one.get("start"), one.get("end")] if isinstance(one, dict) else one
        if not isinstance(values, list | tuple) or len(values) != 2 or any(type(value) is not int for value in values):
            return None
        start, end = values
        if not (pairs[-1][1] if pairs else 0) <= start < end <= length:
            return None
        pairs.append((start, end))
    return pairs


def flat_spans(document: Document, policy: Policy, counts: Counts) -> tuple[Span, ...]:
    """Spans without overlaps and without white space at their ends; what went is counted."""
    flat = flatten(document.spans, policy)
    if len(flat) < len(document.spans):
        counts[f"nested or overlapping spans left out (the {policy} stays)"] += len(document.spans) - len(flat)
    spans = []
    for span in flat:
        words = document.text[span.start : span.end]
        start = span.start + len(words) - len(words.lstrip(_TRIMMED))
        end = span.end - (len(words) - len(words.rstrip(_TRIMMED)))
        if start >= end:
            counts["spans of white space alone left out"] += 1
            continue
        if (start, end) != (span.start, span.end):
            counts["spans freed of white space at their ends"] += 1
        spans.append(Span(start, end, span.label, span.confidence))
    return tuple(spans)


def tagged_tokens(
    document: Document, scheme: Scheme, policy: Policy, counts: Counts
) -> tuple[list[Offsets], list[str]]:
    """(start, end) of each token, and its tag; `counts` grows by what tags cannot say."""
    spans = flat_spans(document, policy, counts)
    borders = {span.start for span in spans} | {span.end for span in spans}
    tokens = cut_at(_visible(document) if document.tokens else tokenize(document.text), borders)
    tagged = encode(spans, tokens, scheme)
    if tagged.lost:
        counts["spans outside every token left out"] += tagged.lost
    if tagged.moved:
        counts["spans moved to the borders of tokens"] += tagged.moved
    return tokens, tagged.tags


def _visible(document: Document) -> list[Offsets]:
    """The document's own tokens, divided at white space within them."""
    return [
        (start + match.start(), start + match.end())
        for start, end in document.tokens
        for match in _VISIBLE.finditer(document.text[start:end])
    ]
