"""Texts of an example to the token fields that task models take, with exact character offsets.

An example is one or more inputs of the encoder (rows), each of one text or of two texts encoded jointly, and spans
of characters that a head wants the vectors of. The raw tokenizer gives ids and offsets without specials; the
specials between and around come from the tokenizer's own template, read once.

Truncation, where a row is longer than `max_length`: of two texts the longer one is cut until both fit (equal halves if
both are long). A text is cut at its end; one with marked spans keeps the window of tokens around them instead. A
span that no longer has any token becomes empty, and its vector zeros. `PairTokenizer.rows` reads long texts in
windows instead, or refuses them.

Shapes: R rows, T tokens, K spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.protocols import LongTexts
from slonik.text.batching import pad_fields, windows
from slonik.text.tokenizing import Template, encode, pad_id, template_of, without_spaces

Fields = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TextSpan:
    """Characters `start` to `end` of text `part` (0 or 1) of row `row`."""

    row: int
    part: int
    start: int
    end: int


@dataclass(frozen=True)
class TaskInput:
    """What one example gives to the encoder.

    Attributes:
        rows: each one text, or two that are read together.
        spans: characters whose vectors the head wants.
    """

    rows: tuple[tuple[str, ...], ...]
    spans: tuple[TextSpan, ...] = ()


@dataclass(frozen=True)
class PairTemplate:
    """Specials of a tokenizer around one text and around two: `head first middle second tail`.

    Attributes:
        single: around one text.
        head, middle, tail: around and between two.
        types: token types of the head, first text, middle, second text, tail.
    """

    single: Template
    head: tuple[int, ...]
    middle: tuple[int, ...]
    tail: tuple[int, ...]
    types: tuple[int, int, int, int, int]

    @property
    def size(self) -> int:
        return len(self.head) + len(self.middle) + len(self.tail)


def pair_template(tokenizer: Tokenizer) -> PairTemplate:
    """Read the specials from what the tokenizer does to two letters.

    A tokenizer without a pair template (GPT-2) puts nothing between; then the tail of a single text stands there.
    """
    single = template_of(tokenizer)
    encoding = tokenizer.encode("а", "б")
    owners = encoding.sequence_ids
    first = [place for place, owner in enumerate(owners) if owner == 0]
    second = [place for place, owner in enumerate(owners) if owner == 1]
    if not first or not second or first[-1] > second[0]:
        return PairTemplate(single, single.head, single.tail, single.tail, (0, 0, 0, 0, 0))
    ids, kinds = encoding.ids, encoding.type_ids
    head, tail = tuple(ids[: first[0]]), tuple(ids[second[-1] + 1 :])
    middle = tuple(ids[first[-1] + 1 : second[0]])
    types = (
        kinds[0] if head else 0,
        kinds[first[0]],
        kinds[first[-1] + 1] if middle else kinds[first[0]],
        kinds[second[0]],
        kinds[-1] if tail else kinds[second[0]],
    )
    return PairTemplate(single, head, middle, tail, types)


@dataclass(frozen=True)
class Row:
    """One tokenised row.

    Attributes:
        ids, types: (T,).
        segments: (T,) 0 for specials, 1 and 2 for tokens of the first and second text.
        offsets: (T, 2) character offsets into the token's own text, without surrounding spaces; (0, 0) for specials.
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    segments: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def tokens_of(self, part: int, start: int, end: int) -> tuple[int, int]:
        """First and last + 1 token that share characters with text[start:end]; (0, 0) if none is left."""
        inside = (self.segments == part + 1) & (self.offsets[:, 0] < end) & (self.offsets[:, 1] > start)
        found = np.flatnonzero(inside)
        return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


class PairTokenizer:
    """Rows of token ids with specials, cut to `max_length`.

    Args:
        tokenizer: raw; its own padding and truncation are off.
        max_length: tokens of a row, specials included.

    Attributes:
        tokenizer, max_length: these two. pad_id: id to pad rows with. cut_rows: how many rows were cut so far.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._template = pair_template(tokenizer)
        self.pad_id = pad_id(tokenizer)
        self.cut_rows = 0

    def row(self, texts: Sequence[str], spans: Sequence[TextSpan] = ()) -> Row:
        """One text or two as a row; `spans` (of this row) must survive the cut if they can.

        Raises:
            ValueError: not one or two texts.
        """
        if not 1 <= len(texts) <= 2:
            raise ValueError(f"a row holds one text or two, not {len(texts)}")
        contents = [_tokens(self.tokenizer, text) for text in texts]
        template = self._template
        specials = template.size if len(texts) == 2 else template.single.size
        rooms = _rooms([len(ids) for ids, _ in contents], max(1, self.max_length - specials))
        kept = []
        self.cut_rows += any(len(ids) > room for (ids, _), room in zip(contents, rooms, strict=True))
        for part, ((ids, offsets), room) in enumerate(zip(contents, rooms, strict=True)):
            wanted = [(span.start, span.end) for span in spans if span.part == part]
            start = _window(offsets, room, wanted)
            kept.append((ids[start : start + room], offsets[start : start + room]))
        return self._assembled(kept)

    def _assembled(self, kept: Sequence[tuple[Sequence[int], Sequence[tuple[int, int]]]]) -> Row:
        """Ids and offsets of one text or two with the specials around and between them."""
        template = self._template
        if len(kept) == 1:
            single = template.single
            return _assemble([(single.head, 0), (kept[0], 0, 1), (single.tail, 0)])
        types = template.types
        return _assemble(
            [(template.head, types[0]), (kept[0], types[1], 1), (template.middle, types[2])]
            + [(kept[1], types[3], 2), (template.tail, types[4])]
        )

    def rows(self, texts: Sequence[str], long_texts: LongTexts) -> list[tuple[Row, float]]:
        """One text or two as rows with the share that each has in the answer; shares sum to 1.

        "truncate" gives one row. "average" gives consecutive windows of the longer text, each with the whole of the
        other one (which keeps at most half of the room), weighed by the window's tokens.

        Raises:
            SlonikError: "refuse", and there are more tokens than `max_length`.
        """
        if long_texts == "truncate":
            return [(self.row(texts), 1.0)]
        contents = [_tokens(self.tokenizer, text) for text in texts]
        lengths = [len(ids) for ids, _ in contents]
        specials = self._template.size if len(texts) == 2 else self._template.single.size
        room = max(1, self.max_length - specials)
        if sum(lengths) <= room:
            return [(self.row(texts), 1.0)]
        if long_texts == "refuse":
            raise SlonikError(
                f"a text has {sum(lengths) + specials} tokens, and the model takes {self.max_length}: shorten it, or "
                "let long texts be cut (truncate) or read in windows (average)"
            )
        cut = int(np.argmax(lengths))
        other = min(sum(lengths) - lengths[cut], room // 2)
        found = []
        for start, end in windows(lengths[cut], max(1, room - other)):
            kept = [
                (ids[start:end], offsets[start:end]) if part == cut else (ids[:other], offsets[:other])
                for part, (ids, offsets) in enumerate(contents)
            ]
            found.append((self._assembled(kept), (end - start) / lengths[cut]))
        return found

    def fields(self, example: TaskInput) -> Fields:
        """Arrays of one example: input_ids, attention_mask, token_type_ids, segments: (T,), or (R, T) for several rows.

        Several rows add `candidates` (R,), True; spans add `spans` (K, 3): row, first token, last token + 1.
        """
        rows = [
            self.row(texts, [span for span in example.spans if span.row == number])
            for number, texts in enumerate(example.rows)
        ]
        found = fields_of(rows, self.pad_id)
        if example.spans:
            spans = [(s.row, *rows[s.row].tokens_of(s.part, s.start, s.end)) for s in example.spans]
            found["spans"] = np.array(spans, dtype=np.int64)
        return found


def fields_of(rows: Sequence[Row], pad_id: int) -> Fields:
    """Arrays of one example of one row or several, as `PairTokenizer.fields` gives them, without spans."""
    parts = [
        {"input_ids": row.ids, "attention_mask": np.ones_like(row.ids), "token_type_ids": row.types,
         "segments": row.segments}
        for row in rows
    ]  # fmt: skip
    found: Fields = pad_fields(parts, {"input_ids": pad_id})
    if len(rows) == 1:
        return {name: array[0] for name, array in found.items()}
    return found | {"candidates": np.ones(len(rows), dtype=np.bool_)}


def _tokens(tokenizer: Tokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and offsets of a text without specials; a token's leading space is not in its span."""
    encoding = encode(tokenizer, text)
    return encoding.ids, [without_spaces(text, start, end) for start, end in encoding.offsets]


def _rooms(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens each text may keep: the longer of two is cut first."""
    if len(lengths) == 1:
        return [room]
    first, second = lengths
    half = room // 2
    if first + second <= room:
        return [first, second]
    if first <= half:
        return [first, room - first]
    if second <= half:
        return [room - second, second]
    return [room - half, half]


def _window(offsets: Sequence[tuple[int, int]], room: int, wanted: Sequence[tuple[int, int]]) -> int:
    """First token of the window to keep: 0, or as far right as the wanted characters need."""
    if len(offsets) <= room or not wanted:
        return 0
    inside = [
        place
        for place, (start, end) in enumerate(offsets)
        if any(start < last and end > first for first, last in wanted)
    ]
    if not inside or inside[-1] < room:
        return 0
    middle = (inside[0] + inside[-1] + 1) // 2
    start = middle - room // 2
    if inside[-1] - inside[0] < room:
        start = min(max(start, inside[-1] + 1 - room), inside[0])
    return min(max(start, 0), len(offsets) - room)


def _assemble(parts: Sequence[Any]) -> Row:
    """Specials `(ids, type)` and texts `((ids, offsets), type, segment)` one after another."""
    ids: list[int] = []
    types: list[int] = []
    segments: list[int] = []
    offsets: list[tuple[int, int]] = []
    for part in parts:
        special = len(part) == 2
        new, spans = (part[0], [(0, 0)] * len(part[0])) if special else part[0]
        ids += new
        types += [part[1]] * len(new)
        segments += [0 if special else part[2]] * len(new)
        offsets += spans
    if not ids:  # an empty text with a tokenizer without specials: one padding-like token keeps shapes whole
        ids, types, segments, offsets = [0], [0], [0], [(0, 0)]
    return Row(
        np.array(ids, dtype=np.int64),
        np.array(types, dtype=np.int64),
        np.array(segments, dtype=np.int64),
        np.array(offsets, dtype=np.int64).reshape(-1, 2),
    )
