"""Label Studio's JSON export: tasks with `data` and `annotations`, read as documents, and written for pre-annotation.

Does: take of each task the annotation that counts (ground truth, else the latest that was not cancelled), its regions
of text, with one span per label; leave out tasks that nobody has annotated, counted; count what is no region of a text
(choices, ratings, relations). Offsets count what the browser counted, which the quoted words tell.
Does not: read regions of HyperText and dialogues, whose offsets lie in markup or in turns, or of images: refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slonik.core.errors import SlonikError
from slonik.data.annotations.document import Counts, Document
from slonik.data.annotations.rows import document_of_row

_SEVERAL = "tasks with several annotations, of which the ground truth or the latest is taken"


def is_task(row: Any) -> bool:
    """Whether a JSON value is a task of the full export."""
    return isinstance(row, dict) and isinstance(row.get("data"), dict)


def document_of_task(task: Mapping[str, Any], where: str, name: str, counts: Counts) -> Document | None:
    """The document of one task; None where it has no annotation that counts, which is counted.

    Raises:
        SlonikError: no text, regions that are none of a text, or that do not fit it.
    """
    annotations = task.get("annotations", task.get("completions"))
    if not isinstance(annotations, list):
        annotations = [] if annotations is None else [annotations]
    given = [one for one in annotations if isinstance(one, dict)]
    kept = [one for one in given if not (one.get("was_cancelled") or one.get("skipped"))]
    if not kept:
        why = "that the annotator skipped" if given else "that nobody has annotated"
        more = " (predictions of a model are not gold)" if not given and task.get("predictions") else ""
        counts[f"tasks {why} left out{more}"] += 1
        return None
    if len(kept) > 1:
        counts[_SEVERAL] += 1
    places = {id(one): place for place, one in enumerate(kept)}  # of equal or unknown times the last one counts
    chosen = max(kept, key=lambda one: (bool(one.get("ground_truth")), _time(one), places[id(one)]))
    result = chosen.get("result") or []
    if not isinstance(result, list):
        raise SlonikError(f"{where}: the result of an annotation is {str(result)[:60]!r}; it must be a list of regions")
    regions = _regions(result, where, counts)
    text = _text(task["data"], regions, where)
    return document_of_row(
        {
            "id": task["data"].get("id", task.get("id", name)),
            "text": text,
            "spans": [region["value"] for region in regions],
        },
        where,
        name,
        counts,
    )


def _time(annotation: Mapping[str, Any]) -> str:
    """When it was last changed, as the export writes it; "" where nothing says so."""
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _regions(results: Sequence[Any], where: str, counts: Counts) -> list[dict[str, Any]]:
    """Regions of a text that have a label, each with `labels` in its value."""
    found = []
    for one in results:
        kind = str(one.get("type", "")) if isinstance(one, dict) else ""
        value = one.get("value") if isinstance(one, dict) else None
        if kind == "relation" or not isinstance(value, dict) or not ({"start", "startOffset"} & value.keys()):
            if "labels" in kind and kind != "labels":
                raise SlonikError(f"{where}: a region of {kind}, which is none of a text: only texts are read")
            counts[f"{kind or 'further'} results of tasks (no regions of a text) left out"] += 1
            continue
        start = value.get("start")
        if kind in ("paragraphlabels", "hypertextlabels", "timeserieslabels") or not (
            isinstance(start, int) or (isinstance(start, str) and start.strip().isdigit())
        ):
            raise SlonikError(f"{where}: {kind} regions count in markup or turns, not in the text: export plain text")
        labels = value.get(kind, value.get("labels"))
        if not labels:
            counts["regions without a label left out"] += 1
            continue
        words = value.get("text")
        found.append({"value": {"start": start, "end": value.get("end"), "labels": labels, "text": words}})
    return found


def _text(data: Mapping[str, Any], regions: Sequence[Mapping[str, Any]], where: str) -> str:
    """The field that was annotated: `text`, the only one, or the only one on which all regions lie."""
    texts = {field: value for field, value in data.items() if isinstance(value, str)}
    if "text" in texts and (len(texts) == 1 or not regions or _lies_on(texts["text"], regions)):
        return texts["text"]
    if len(texts) > 1:
        fitting = {field: value for field, value in texts.items() if _lies_on(value, regions)}
        texts = fitting if regions and fitting else texts
    if "text" in texts:
        return texts["text"]  # nothing fits: the sentence says why this one does not
    if len(texts) != 1:
        raise SlonikError(
            f"{where}: which field of data is the text ({', '.join(data) or 'there is none'})? Call it text"
        )
    return next(iter(texts.values()))


def _lies_on(text: str, regions: Sequence[Mapping[str, Any]]) -> bool:
    try:
        document_of_row({"text": text, "spans": [region["value"] for region in regions]}, "", "")
    except SlonikError:
        return False
    return True


def task_of_document(document: Document, *, predicted: bool) -> dict[str, Any]:
    """A task to import: offsets in UTF-16 units, as the browser counts; `predicted` spans are predictions, not gold."""
    spans = [
        {
            "id": f"s{number}", "from_name": "label", "to_name": "text", "type": "labels",
            "value": {
                "start": _units(document.text, span.start), "end": _units(document.text, span.end),
                "text": document.text[span.start : span.end], "labels": [span.label],
            },
        }
        for number, span in enumerate(document.spans)
    ]  # fmt: skip
    task: dict[str, Any] = {"data": {"text": document.text, "id": document.id}}
    sure = [span.confidence for span in document.spans if span.confidence is not None]
    if predicted:
        score = {"score": round(min(sure), 4)} if sure else {}
        return task | {"predictions": [{"model_version": "slonik", **score, "result": spans}]}
    return task | {"annotations": [{"result": spans}]}


def _units(text: str, place: int) -> int:
    return place + sum(ord(sign) > 0xFFFF for sign in text[:place])


def write_tasks(documents: Iterable[Document], *, predicted: bool) -> list[dict[str, Any]]:
    """Tasks of documents, in order."""
    return [task_of_document(document, predicted=predicted) for document in documents]
