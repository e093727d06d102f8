"""One JSON object of an annotated text, as slonik writes it and as other programs do: to a document, or refused.

Does: our own rows, and those of doccano (`label`, `labels`, `annotations`, `entities`, as lists or as objects), Prodigy
(`answer`, binary decisions), Label Studio's short export, spaCy's training pairs, NEREL's rows with BRAT lines, and
RuNNE (`ners`, ends inclusive, also over words). What is not gold (rejected, ignored, flagged) makes no document and is
counted; what looks like spans and is not understood is refused.
Does not: read files. Label Studio's full export is in `label_studio`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slonik.core.errors import SlonikError
from slonik.data.annotations.brat import spans_of
from slonik.data.annotations.document import Counts, Document, Span
from slonik.data.annotations.offsets import Counting, Stretch, fitting, points
from slonik.data.annotations.tags import offset_pairs

SPAN_FIELDS = ("spans", "entities", "label", "labels", "annotations", "ners", "ner")
_TEXT_FIELDS = ("text", "data", "sentences", "content")
_INCLUSIVE = ("ners", "ner")
_STARTS = ("start", "start_offset", "startOffset", "begin")
_ENDS = ("end", "end_offset", "endOffset")
_LABELS = ("label", "type", "labels", "entity_group", "entity", "tag", "category")
_QUOTES = ("text", "quote")
_ANSWERS = {"reject": "rejected", "ignore": "ignored", "flag": "flagged"}
WITHOUT_SPANS = "rows without a field of spans, taken as texts without entities"
REPEATED = "annotations repeated on the same words with the same label"


@dataclass(frozen=True)
class _Item:
    """A span as it was written: offsets of some way of counting, and the words that it quotes, if any."""

    start: int
    end: int
    label: str
    words: str | None = None
    confidence: float | None = None


def document_of_row(
    row: Any, where: str, name: str, counts: Counts | None = None, *, names: Sequence[str] | Mapping[str, str] = ()
) -> Document | None:
    """The document of one JSON value; None where it is not gold, which is counted.

    Args:
        row: an object; a text alone; or spaCy's pair [text, {"entities": [...]}].
        where: begins the sentence of an error. name: the id if it has none.
        counts: grows by what was left out or changed.
        names: of labels that are numbers: by place, or by number as a text (doccano).

    Raises:
        SlonikError: no text, spans or tokens that do not fit it, or a layout that is not understood.
    """
    counts = Counts() if counts is None else counts
    if isinstance(row, str):
        row = {"text": row}
    elif isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict):
        row = {**row[1], "text": row[0]}
    if not isinstance(row, dict):
        raise SlonikError(f'{where}: no text; each line is an object with a field "text", and "spans" if it has any')
    _refuse_others(row, where)
    name = next((str(row[field]) for field in ("id", "doc_key") if row.get(field) is not None), name)
    if isinstance(row.get("sentences"), list) or isinstance(row.get("tokenized_text"), list):
        return _of_words(row, where, name)
    field = next((field for field in _TEXT_FIELDS if isinstance(row.get(field), str)), None)
    if field is None:
        raise SlonikError(f'{where}: no text; each line is an object with a field "text", and "spans" if it has any')
    answer = row.get("answer")
    if answer in _ANSWERS:
        counts[f"rows that the annotator {_ANSWERS[answer]} left out"] += 1
        return None
    if answer not in (None, "accept"):
        raise SlonikError(f"{where}: the answer is {answer!r}: accept, reject and ignore are understood")
    text: str = row[field]
    if relations := row.get("relations"):
        counts["relations between entities left out"] += len(relations) if isinstance(relations, list | dict) else 1
    lines = row.get("entities")
    if isinstance(lines, list) and lines and all(isinstance(line, str) for line in lines):
        return Document(name, text, spans_of(lines, text, where, counts))  # NEREL on the hub: lines of an .ann
    items = _items(row, where, names, counts)
    way = _way(items, text, where)
    if way.name:
        counts[f"rows with offsets that {way.name}: converted"] += 1
    spans = _spans(items, way, counts)
    tokens = offset_pairs(row.get("tokens") or [], len(text))
    if tokens is None:
        raise SlonikError(
            f"{where}: the tokens must be [start, end] pairs in order inside the text (or objects with start and end)"
        )
    brat = row.get("brat") or []
    if not isinstance(brat, list) or not all(isinstance(line, str) for line in brat):
        raise SlonikError(f"{where}: brat must be a list of the lines of an .ann file")
    unknown = offset_pairs(row.get("unknown") or [], len(text))
    if unknown is None:
        raise SlonikError(f"{where}: unknown must be [start, end] pairs in order inside the text")
    if row.get("_is_binary") is True or row.get("_view_id") == "ner":
        counts["rows of one decision each: what they do not mark counts as unknown, not as no entity"] += 1
        unknown = [(0, len(text))] if text else []
    return Document(name, text, spans, tuple(brat), tuple(tokens), tuple(unknown))


def _refuse_others(row: Mapping[str, Any], where: str) -> None:
    """Layouts that hold no annotated text, by their names."""
    if "pattern" in row:
        raise SlonikError(
            f"{where}: this is a rule (label and pattern), not an annotated text: rules are read as a gazetteer"
        )
    for field in ("label", "labels", "cats", "options"):
        value = row.get(field)
        alone = not any(row.get(other) is not None for other in SPAN_FIELDS if other != field)
        if isinstance(value, str) and alone and field != "labels":
            raise SlonikError(f"{where}: {field} is {value!r}, one for the whole text: that is text classification")
    chosen = next((field for field in ("cats", "options", "accept") if row.get(field)), None)
    if chosen is not None and not any(field in row for field in SPAN_FIELDS):
        raise SlonikError(
            f"{where}: {chosen!r} is about the whole text, and there are no spans: that is classification"
        )
    label = row.get("label", row.get("labels"))
    if isinstance(label, list) and label and all(isinstance(one, str) for one in label):
        raise SlonikError(f"{where}: the labels {label!r} have no places: that is text classification, not entities")


def _items(row: Mapping[str, Any], where: str, names: Sequence[str] | Mapping[str, str], counts: Counts) -> list[_Item]:
    """The spans of the first field that holds any; all fields that could are looked at, so that none is passed over."""
    known = [field for field in SPAN_FIELDS if field in row]
    filled = [field for field in known if row[field] not in (None, [], {}, "") and not isinstance(row[field], str)]
    if not filled:
        for field, value in row.items():
            if field not in (*SPAN_FIELDS, "tokens", "unknown", "offsets", "relations") and _like_spans(value):
                if _short_export(value):
                    filled = [field]
                    break
                raise SlonikError(
                    f'{where}: the field {field!r} looks like spans and is not known: call it "spans" if they are gold'
                )
    if not filled:
        if not known:
            counts[WITHOUT_SPANS] += 1
        return []
    if len(filled) > 1:
        counts[f"rows with spans in {' and '.join(map(repr, filled))}: those in {filled[0]!r} are taken"] += 1
    field = filled[0]
    more = int(field in _INCLUSIVE)
    return [
        _Item(start, end + more, label, words, sure)
        for one in _kept(_listed(row[field], where, field), counts)
        for start, end, label, words, sure in _read(one, where, names)
    ]


def _kept(items: Iterable[Any], counts: Counts) -> Iterator[Any]:
    """The spans that nobody rejected: merged decisions of Prodigy have an answer each."""
    for one in items:
        answer = one.get("answer") if isinstance(one, dict) else None
        if answer in _ANSWERS:
            counts[f"spans that the annotator {_ANSWERS[answer]} left out"] += 1
        else:
            yield one


def _listed(value: Any, where: str, field: str) -> Iterable[Any]:
    """The spans of a field, whatever holds them: a list, an object of spans, or of lists by label."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("entities"), list | dict):
            return _listed(value["entities"], where, field)
        if isinstance(value.get("spans"), list | dict):
            return _listed(value["spans"], where, field)
        if any(name in value for name in _STARTS) and any(name in value for name in _ENDS):
            return [value]  # one span without a list around it
        parts = list(value.values())
        if all(isinstance(part, dict) or _is_triple(part) for part in parts):
            return parts
        if all(isinstance(part, list) and all(_is_pair(one) for one in part) for part in parts):
            return [[*pair, label] for label, pairs in value.items() for pair in pairs]
    raise SlonikError(
        f"{where}: {field} is {str(value)[:80]!r}, which is not understood: give a list of spans, each an object with "
        "start, end and label, or [start, end, label]"
    )


def _read(
    item: Any, where: str, names: Sequence[str] | Mapping[str, str]
) -> list[tuple[int, int, str, str | None, float | None]]:
    """(start, end, label, quoted words, confidence) of one span, once for each of its labels."""
    if isinstance(item, list | tuple) and len(item) in (3, 4):
        words = item[3] if len(item) == 4 and isinstance(item[3], str) else None
        item = {"start": item[0], "end": item[1], "label": item[2], "text": words}
    if not isinstance(item, dict):
        raise SlonikError(f"{where}: {item!r} is not a span: use an object with start, end and label")
    inner = item.get("value")
    if isinstance(inner, dict):
        item = {**item, **inner}
    start, end = (next((item[name] for name in side if name in item), None) for side in (_STARTS, _ENDS))
    start, end = _whole(start), _whole(end)
    labels = next((item[name] for name in _LABELS if item.get(name) is not None), None)
    found = [_label(one, names, where) for one in (labels if isinstance(labels, list) else [labels])]
    if start is None or end is None or not found or any(not label for label in found):
        raise SlonikError(f"{where}: the span {item!r} lacks a whole start, a whole end or a label")
    quoted = next((item[name] for name in _QUOTES if isinstance(item.get(name), str)), None)
    sure = item.get("confidence")
    sure = float(sure) if isinstance(sure, int | float) and not isinstance(sure, bool) else None
    return [(start, end, str(label), quoted, sure) for label in found]


def _label(label: Any, names: Sequence[str] | Mapping[str, str], where: str) -> str | None:
    if isinstance(label, int) and not isinstance(label, bool):
        found = names.get(str(label)) if isinstance(names, Mapping) else None
        if not isinstance(names, Mapping) and 0 <= label < len(names):
            found = names[label]
        if found is None:
            raise SlonikError(
                f"{where}: the label is the number {label}: put labels.json beside the file, the list of names (or of "
                'objects with "id" and "text", as doccano exports them)'
            )
        return found
    if not isinstance(label, str):
        return None
    if any(sign in label for sign in "\t\r\n"):
        raise SlonikError(f"{where}: the label {label!r} holds a tab or a line end, which no format can keep")
    return label


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    return value if type(value) is int else None


def _way(items: Sequence[_Item], text: str, where: str) -> Counting:
    """The way in which the offsets of a row count.

    Raises:
        SlonikError: no way fits; the sentence says what is wrong with code points.
    """
    for one in items:
        if not 0 <= one.start < one.end:
            raise SlonikError(
                f"{where}: the span {one.label} {one.start} to {one.end} is outside its text of {len(text)} characters "
                "or empty: start must be below end, both from 0"
            )
    stretches = [Stretch(((one.start, one.end),), one.words) for one in items]
    way = fitting(text, stretches)
    if way is not None:
        return way
    here = points(text)
    for one in items:
        if one.end > len(text):
            raise SlonikError(
                f"{where}: the span {one.label} {one.start} to {one.end} is outside its text of {len(text)} characters"
            )
    bad = next(one for one in items if fitting(text, [Stretch(((one.start, one.end),), one.words)]) not in (here,))
    raise SlonikError(
        f"{where}: the span {bad.label} {bad.start} to {bad.end} quotes {(bad.words or '')[:60]!r}, "
        f"and the text has {text[bad.start : bad.end][:60]!r}"
    )


def _spans(items: Iterable[_Item], way: Counting, counts: Counts) -> tuple[Span, ...]:
    found: dict[Span, Span] = {}
    total = 0
    for one in items:
        total += 1
        span = Span(*way.place((one.start, one.end)), one.label, one.confidence)
        found.setdefault(span, span)
    if total > len(found):
        counts[REPEATED] += total - len(found)
    return tuple(sorted(found.values()))


def _of_words(row: Mapping[str, Any], where: str, name: str) -> Document:
    """RuNNE's layout over words: sentences of words with `ners` each, or one list of words; ends inclusive."""
    words, marks = row.get("sentences", row.get("tokenized_text")), row.get("ners", row.get("ner"))
    nested = isinstance(words, list) and bool(words) and all(isinstance(one, list) for one in words)
    sentences = words if nested else [words]
    spans_by = marks if nested else [marks]
    if not isinstance(spans_by, list) or len(spans_by) != len(sentences):
        raise SlonikError(f"{where}: {len(sentences)} sentences of words need a list of ners for each")
    text, places, spans = "", [], []
    for sentence, own in zip(sentences, spans_by, strict=True):
        if not all(isinstance(word, str) and word for word in sentence):
            raise SlonikError(f"{where}: the words of a sentence must be texts, and not empty")
        text += "\n" if text else ""
        starts = list(itertools.accumulate((len(word) + 1 for word in sentence), initial=len(text)))
        offsets = [(start, start + len(word)) for start, word in zip(starts, sentence, strict=False)]
        text += " ".join(sentence)
        for one in own or []:
            for first, last, label, _, _ in _read(one, where, ()):
                if not 0 <= first <= last < len(offsets):
                    raise SlonikError(
                        f"{where}: {label} {first} to {last} is outside a sentence of {len(offsets)} words"
                    )
                spans.append(Span(offsets[first][0], offsets[last][1], label))
        places += offsets
    return Document(name, text, tuple(sorted(set(spans))), (), tuple(places))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_whole(one) is not None for one in value)


def _is_triple(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) in (3, 4) and _is_pair(list(value)[:2]) and bool(value[2])


def _like_spans(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_like_spans(part) for part in value.values() if isinstance(part, list | dict))
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    marked = isinstance(first, dict) and any(name in first for name in _STARTS) and any(name in first for name in _ENDS)
    return bool(marked or (_is_triple(first) and isinstance(first[2], str)))


def _short_export(value: Any) -> bool:
    """Whether these are regions of Label Studio's short export, whose field is called as the project calls it."""
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("labels"), list) for one in value
    )
