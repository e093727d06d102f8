"""Words with exact offsets, and between spans and one tag per word: BIO (IOB2) and BIOES, exact both ways.

Encoding takes flat spans (see `document.flatten`); a span that begins or ends inside a token takes the whole token and
is counted. Decoding is lenient as conlleval and seqeval are by default: an I- without its B- begins a span, and a
change of label does too; L- and U- (BILOU) are read as E- and S-.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document, Policy, Span, flatten

Offsets: TypeAlias = tuple[int, int]
Scheme: TypeAlias = Literal["BIO", "BIOES"]
SCHEMES: tuple[Scheme, ...] = ("BIO", "BIOES")
OUTSIDE = "O"
_PREFIXES = frozenset("BIESLU")

# Combining marks (general, Cyrillic, Hebrew, Arabic, Devanagari to Sinhala signs), and joiners inside a word.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f"
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f"
)
_JOINERS = "\u00ad\u200c\u200d\u2060"
_VARIANTS = "\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
_INVISIBLE = "\ufeff\u200b"
_TOKEN = re.compile(
    rf"\w[\w{_MARKS}{_JOINERS}]*"
    rf"|[\U0001f1e6-\U0001f1ff]{{2}}"  # a flag is two regional letters
    rf"|[^\w\s{_INVISIBLE}][{_MARKS}{_VARIANTS}]*(?:\u200d[^\w\s{_INVISIBLE}][{_MARKS}{_VARIANTS}]*)*"
)
_GLUE = re.compile(r"(?<=\d)(?=[A-ZА-ЯЁ][a-zа-яё])|(?<=[A-Za-z])(?=[А-Яа-яЁё]{2})|(?<=[А-Яа-яЁё]{2})(?=[A-Za-z])")
_VISIBLE = re.compile(r"[^\s\ufeff\u200b]+")
_TRIMMED = " \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff\u200b" + "".join(
    chr(code) for code in range(0x2000, 0x200B)
)


def tokenize(text: str) -> list[Offsets]:
    """Split a text into words and signs: (start, end) of each, in order and disjoint; no character is changed.

    A word is a run of letters, digits and underscores with the combining marks (stress accents), soft hyphens and
    joiners in it; every other visible character is a token of its own, an emoji with its modifiers too. Hyphens,
    quotes and dots divide: annotators mark "Android" in "Android-устройства". A run also divides where a capitalised
    word follows a digit ("7Microsoft") and between Latin and Cyrillic letters ("Wordom"): scraped pages glue words so,
    and on the security collection this halves the spans that begin or end inside a token (1.8 to 1.0 %). What lies
    between is white space (everything that Unicode calls so: NBSP, line ends), or the invisible byte-order mark and
    zero-width space.
    """
    glued = {match.start() for match in _GLUE.finditer(text)}
    return cut_at([match.span() for match in _TOKEN.finditer(text)], glued)


def cut_at(offsets: list[Offsets], borders: set[int]) -> list[Offsets]:
    """Tokens divided wherever a border falls inside one, so that any span is a whole number of tokens."""
    parts: list[Offsets] = []
    for start, end in offsets:
        for border in range(start + 1, end):
            if border in borders:
                parts.append((start, border))
                start = border
        parts.append((start, end))
    return parts


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


def count_loose(tags: Sequence[str], counts: Counts) -> None:
    """Count the I- and E- that no tag of their label comes before: `decode` lets an entity begin there (as IOB1)."""
    before = ("O", "")
    loose = 0
    for tag in tags:
        prefix, label = split_tag(tag)
        loose += prefix in "IE" and (before[0] not in "BI" or before[1] != label)
        before = (prefix, label)
    if loose:
        counts["tags I- or E- with no entity of their label before them, at which one begins"] += loose


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
    return trimmed_spans(flat, document.text, counts)


def trimmed_spans(given: Sequence[Span], text: str, counts: Counts) -> tuple[Span, ...]:
    """The spans without white space at their ends, in order; what went or moved is counted."""
    spans = []
    for span in given:
        words = text[span.start : span.end]
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
    """(start, end) of each token, and its tag, so that the spans come back exactly: what CoNLL and `hf` files hold.

    Tokens are the document's own, or those of `tokenize`; either is divided where a span begins or ends inside it, so
    that conversion moves no border. (Taggers never see these cuts.) `counts` grows by what tags cannot say.
    """
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
