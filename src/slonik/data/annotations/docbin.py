"""spaCy's DocBin (.spacy) read without spaCy: texts with their spaces, entities, and stretches without annotation.

The file is zlib over msgpack: a table of tokens by attributes, in which strings stand as hashes (MurmurHash64A, seed 1)
or, for spaCy's own symbols, as their numbers; which strings there are is in the file. Entities with missing annotation
(`ENT_IOB` 0) become `Document.unknown`. A document without entities whose span groups hold spans (spancat, nested ones)
gives those of its only group, or of "sc".
Does not: write such files, or read what is no entity or span of a group (syntax, categories, user data).
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, SlonikError
from slonik.data.annotations.document import Counts, Document, Span

_ORTH, _ENT_IOB, _ENT_TYPE = 65, 77, 78
_MISSING, _INSIDE, _BEGIN = 0, 1, 3
_SPAN = struct.Struct(">QQQllll")  # id, knowledge base, label, first token, after the last, characters
_SPANCAT = "sc"
#: spaCy's symbols (spacy.symbols, version 3): strings of these names are kept as the numbers from `first` on.
_SYMBOLS = {
    1: "IS_ALPHA IS_ASCII IS_DIGIT IS_LOWER IS_PUNCT IS_SPACE IS_TITLE IS_UPPER LIKE_URL LIKE_NUM LIKE_EMAIL IS_STOP "
    "IS_OOV_DEPRECATED IS_BRACKET IS_QUOTE IS_LEFT_PUNCT IS_RIGHT_PUNCT IS_CURRENCY",
    64: "ID ORTH LOWER NORM SHAPE PREFIX SUFFIX LENGTH CLUSTER LEMMA POS TAG DEP ENT_IOB ENT_TYPE HEAD SENT_START "
    "SPACY PROB LANG ADJ ADP ADV AUX CONJ CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X EOL SPACE",
    380: "PERSON NORP FACILITY ORG GPE LOC PRODUCT EVENT WORK_OF_ART LANGUAGE LAW DATE TIME PERCENT MONEY QUANTITY "
    "ORDINAL CARDINAL acomp advcl advmod agent amod appos attr aux auxpass cc ccomp complm conj cop csubj csubjpass "
    "dep det dobj expl hmod hyph infmod intj iobj mark meta neg nmod nn npadvmod nsubj nsubjpass num number oprd obj "
    "obl parataxis partmod pcomp pobj poss possessive preconj prep prt punct quantmod relcl rcmod root xcomp acl "
    "ENT_KB_ID MORPH ENT_ID IDX _",
}
_NAMES = {
    number: name for first, names in _SYMBOLS.items() for number, name in enumerate(names.split(), start=first)
}  # fmt: skip


def read_docbin(path: str | Path, counts: Counts) -> Iterator[Document]:
    """Documents of a .spacy file, in order.

    Raises:
        SlonikError: it is no such file, or a damaged one.
        MissingExtra: msgpack is not installed.
    """
    path = Path(path)
    content = _content(path)
    try:
        names = _NAMES | {_hash(text): text for text in content["strings"]}
        attributes = [int(one) for one in content["attrs"]]
        lengths = np.frombuffer(content["lengths"], "<i4").tolist()
        table = np.frombuffer(content["tokens"], "<u8").reshape(-1, len(attributes))
        spaces = np.frombuffer(content["spaces"], bool)
        columns = [attributes.index(one) for one in (_ORTH, _ENT_IOB, _ENT_TYPE)]
        groups = content.get("span_groups") or [b""] * len(lengths)
        first = 0
        for number, length in enumerate(lengths, start=1):
            rows = table[first : first + length][:, columns]
            yield _document(
                rows, spaces[first : first + length], groups[number - 1], names, f"{path.stem}-{number}", counts
            )
            first += length
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise SlonikError(f"{path} is no DocBin of spaCy 3 with words and entities, or is damaged ({error})") from None


def _content(path: Path) -> Mapping[str, Any]:
    try:
        import msgpack
    except ModuleNotFoundError as error:
        raise MissingExtra("spaCy's DocBin", "ner", error.name) from None
    try:
        found = msgpack.unpackb(zlib.decompress(path.read_bytes()), strict_map_key=False)
    except OSError as error:
        raise SlonikError(f"cannot read {path}: {error.strerror or error}") from None
    except (zlib.error, ValueError, msgpack.UnpackException) as error:
        raise SlonikError(f"{path} is no DocBin of spaCy, or is damaged ({error})") from None
    if not isinstance(found, dict) or not {"attrs", "tokens", "strings", "lengths", "spaces"} <= found.keys():
        raise SlonikError(f"{path} is no DocBin of spaCy: it lacks tokens or strings")
    return found


def _document(
    rows: NDArray[np.uint64], spaces: NDArray[np.bool_], group: bytes, names: Mapping[int, str], name: str,
    counts: Counts,
) -> Document:  # fmt: skip
    """A document of its tokens (T, 3): word, place in the entity, type."""
    words = [names[int(number)] if number else "" for number in rows[:, 0]]
    ends = list(itertools.accumulate(len(word) + int(space) for word, space in zip(words, spaces, strict=True)))
    starts = [end - len(word) - int(space) for end, word, space in zip(ends, words, spaces, strict=True)]
    places = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    text = "".join(word + " " * int(space) for word, space in zip(words, spaces, strict=True))
    tags = [int(tag) for tag in rows[:, 1]]
    spans = _entities(tags, [names.get(int(kind), "") for kind in rows[:, 2]], places)
    unknown = [place for place, tag in zip(places, tags, strict=True) if tag == _MISSING]
    grouped = _groups(group, names, places)
    if not spans and grouped:
        chosen = _SPANCAT if _SPANCAT in grouped else next(iter(grouped))
        spans, unknown = grouped.pop(chosen), []
    for other, found in grouped.items():
        counts[f"spans of the group {other!r} left out beside entities"] += len(found)
    if unknown and len(unknown) == len(places):
        counts["documents in which nothing is annotated, not even that there is no entity"] += 1
    return Document(name, text, tuple(sorted(set(spans))), (), tuple(places), tuple(_joined(unknown)))


def _entities(tags: Sequence[int], kinds: Sequence[str], places: Sequence[tuple[int, int]]) -> list[Span]:
    found: list[Span] = []
    for index, (tag, kind) in enumerate(zip(tags, kinds, strict=True)):
        if tag == _BEGIN and kind:
            found.append(Span(places[index][0], places[index][1], kind))
        elif tag == _INSIDE and found:
            found[-1] = Span(found[-1].start, places[index][1], found[-1].label)
    return found


def _groups(content: bytes, names: Mapping[int, str], places: Sequence[tuple[int, int]]) -> dict[str, list[Span]]:
    """Name of a group -> its spans that have a label."""
    import msgpack

    if not content or content in (b"\x90", b"\x80"):
        return {}
    packed = msgpack.unpackb(content, strict_map_key=False)
    pairs = packed.items() if isinstance(packed, dict) else ((one, None) for one in packed)
    found: dict[str, list[Span]] = {}
    for raw, keys in pairs:
        group = msgpack.unpackb(raw, strict_map_key=False)
        spans = []
        for one in group["spans"]:
            _, _, label, first, after, _, _ = _SPAN.unpack(one)
            if label and first < after:
                spans.append(Span(places[first][0], places[after - 1][1], names[label]))
        for key in keys or [group["name"]]:
            if spans:
                found[str(key)] = spans
    return found


def _joined(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring stretches (a space apart, or touching) as one."""
    found: list[tuple[int, int]] = []
    for start, end in places:
        if found and start - found[-1][1] <= 1:
            found[-1] = (found[-1][0], end)
        elif start < end:
            found.append((start, end))
    return found


def _hash(text: str) -> int:
    """MurmurHash64A of the UTF-8 bytes with seed 1 (Appleby), as spaCy numbers strings."""
    data, mixer, whole = text.encode("utf-8"), 0xC6A4A7935BD1E995, 0xFFFFFFFFFFFFFFFF
    found = 1 ^ (len(data) * mixer & whole)
    for start in range(0, len(data) - 7, 8):
        part = int.from_bytes(data[start : start + 8], "little") * mixer & whole
        found = (found ^ ((part ^ part >> 47) * mixer & whole)) * mixer & whole
    if rest := data[len(data) // 8 * 8 :]:
        found = (found ^ int.from_bytes(rest, "little")) * mixer & whole
    found = (found ^ found >> 47) * mixer & whole
    return found ^ found >> 47
