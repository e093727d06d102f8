"""Between spans and one tag per token: BIO (IOB2) and BIOES, with exact offsets both ways.

Encoding takes flat spans (see `overlaps`); a span that begins or ends inside a token takes the whole token and is
counted. Decoding is lenient as conlleval and seqeval are by default: an I- without its B- begins a span, and a
change of label does too; L- and U- (BILOU) are read as E- and S-.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Span

Scheme: TypeAlias = Literal["BIO", "BIOES"]
SCHEMES: tuple[Scheme, ...] = ("BIO", "BIOES")
OUTSIDE = "O"
_PREFIXES = frozenset("BIESLU")


@dataclass(frozen=True)
class Tagged:
    """Tags of a text's tokens.

    Attributes:
        tags: one per token.
        moved: spans whose borders were moved to the borders of tokens.
        lost: spans without a token of their own (white space only, or a token that an earlier span took).
    """

    tags: list[str]
    moved: int = 0
    lost: int = 0


def encode(spans: Sequence[Span], offsets: Sequence[tuple[int, int]], scheme: Scheme = "BIO") -> Tagged:
    """One tag per token.

    Args:
        spans: sorted by start and disjoint.
        offsets: (start, end) of the tokens, in order and disjoint.
    """
    tags = [OUTSIDE] * len(offsets)
    moved = lost = after = 0
    for span in spans:
        covered = tokens_of(span, offsets, after)
        after = covered.stop
        if not covered:
            lost += 1
            continue
        moved += (offsets[covered.start][0], offsets[after - 1][1]) != (span.start, span.end)
        tags[covered.start : after] = _span_tags(span.label, len(covered), scheme)
    return Tagged(tags, moved, lost)


def tokens_of(span: Span, offsets: Sequence[tuple[int, int]], first: int = 0) -> range:
    """Places of the tokens that share a character with `span`, those before `first` left out.

    An empty range stands where such a token would be, so that the search for the next span can go on from it.

    Args:
        offsets: (start, end) of the tokens, in order and disjoint.
        first: where to begin looking: for spans sorted by start, the `start` of the last one's tokens, or its `stop`
            where no token may belong to two.
    """
    while first < len(offsets) and offsets[first][1] <= span.start:
        first += 1
    after = first
    while after < len(offsets) and offsets[after][0] < span.end:
        after += 1
    return range(first, after)


def _span_tags(label: str, length: int, scheme: Scheme) -> list[str]:
    if scheme == "BIO":
        return [f"B-{label}"] + [f"I-{label}"] * (length - 1)
    if length == 1:
        return [f"S-{label}"]
    return [f"B-{label}"] + [f"I-{label}"] * (length - 2) + [f"E-{label}"]


def decode(
    tags: Sequence[str], offsets: Sequence[tuple[int, int]], confidences: Sequence[float] | None = None
) -> list[Span]:
    """Spans of a tagged text, sorted and disjoint.

    Args:
        tags: BIO, BIOES or BILOU, one per token.
        confidences: probability of each token's tag; a span has the smallest of its tokens'.

    Raises:
        SlonikError: something that is not a tag.
    """
    spans: list[Span] = []
    begin = -1
    label = ""
    for index in range(len(tags) + 1):
        prefix, kind = split_tag(tags[index]) if index < len(tags) else ("O", "")
        if begin >= 0 and (prefix in "OBS" or kind != label):
            spans.append(_span(begin, index, label, offsets, confidences))
            begin = -1
        if prefix != "O" and begin < 0:
            begin, label = index, kind
        if prefix in "ES":
            spans.append(_span(begin, index + 1, label, offsets, confidences))
            begin = -1
    return spans


def _span(
    first: int, after: int, label: str, offsets: Sequence[tuple[int, int]], confidences: Sequence[float] | None
) -> Span:
    sure = float(min(confidences[first:after])) if confidences is not None else None
    return Span(offsets[first][0], offsets[after - 1][1], label, sure)


def split_tag(tag: str) -> tuple[str, str]:
    """("B", "ORG") of "B-ORG", ("O", "") of "O"; L and U come back as E and S.

    Raises:
        SlonikError: neither O nor PREFIX-LABEL.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, label = tag[:1], tag[1:2], tag[2:]
    if prefix not in _PREFIXES or dash not in ("-", "_") or not label:
        raise SlonikError(f"{tag!r} is not a tag: use O, or B-, I-, E-, S- (L-, U-) and a label, for example B-ORG")
    return {"L": "E", "U": "S"}.get(prefix, prefix), label


def tag_set(labels: Sequence[str], scheme: Scheme = "BIO") -> list[str]:
    """Every tag that spans of `labels` can have, O first, in a stable order."""
    prefixes = "BI" if scheme == "BIO" else "BIES"
    return [OUTSIDE, *(f"{prefix}-{label}" for label in sorted(labels) for prefix in prefixes)]
