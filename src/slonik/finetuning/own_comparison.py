"""Two models on the same rows of one's own: which rows change sides, McNemar's test, answers kept for the board.

Nothing is answered here; differences of metrics with their intervals are in `own_evaluation`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.core.files import new_folder, write_json, write_text
from slonik.core.hashing import sha256_json
from slonik.core.records import Record
from slonik.evaluation.comparison import McNemar, mcnemar
from slonik.evaluation.russian_superglue.metrics import normalise_answer
from slonik.finetuning.items import Item
from slonik.finetuning.own_rows import right_label
from slonik.finetuning.own_tables import Answered
from slonik.reporting.table import Table
from slonik.text.answers import answer_line
from slonik.text.task_config import TaskConfig

HIT = {"single": "accuracy", "multi": "exact", "text": "em"}
"""What a task gives -> the metric that counts a row as right or wrong."""
_MOST_ROWS = 20
_LONGEST = 60  # characters of a text in a table


def hits(one: Answered, items: Sequence[Item]) -> list[bool]:
    """Whether each row is answered rightly: its label, all of its labels, or the very text."""
    free = one.config.target == "text"
    return [_same(given, right_label(item, one.config), free) for given, item in zip(_given(one), items, strict=True)]


def _given(one: Answered) -> list[Any]:
    return [answer_line(one.config, values)["label"] for values in one.answers]


def _same(given: Any, right: Any, free: bool) -> bool:
    if isinstance(right, list):
        return sorted(given) == sorted(right)
    return normalise_answer(str(given)) == normalise_answer(right) if free else given == right


def with_mcnemar(records: Sequence[Record], found: Sequence[Answered], items: Sequence[Item]) -> list[Record]:
    """The same records; a difference in right and wrong rows has McNemar's exact test in `detail.mcnemar`."""
    metric = HIT.get(found[0].config.target)
    right = {one.name: hits(one, items) for one in found} if metric else {}
    tested = []
    for record in records:
        detail = record.detail
        if metric and record.metric == f"{metric}_difference" and detail.get("model") in right:
            test = mcnemar(right[detail["model"]], right[detail["against"]])
            told = {"only_model": test.only_first, "only_against": test.only_second, "p_value": test.p_value}
            record = record.model_copy(update={"detail": {**detail, "mcnemar": told}})
        tested.append(record)
    return tested


def change_tables(found: Sequence[Answered], items: Sequence[Item], config: TaskConfig) -> list[Table]:
    """A table per model against the first: rows of which one alone is right, those that got worse first.

    Numbers have none: they are not right or wrong, and differ in every row.
    """
    models = [one for one in found if not one.baseline]
    if config.target not in HIT or len(models) < 2:
        return []
    return [_changed(one, models[0], items) for one in models[1:]]


def _changed(one: Answered, first: Answered, items: Sequence[Item]) -> Table:
    own, base = hits(one, items), hits(first, items)
    test = mcnemar(own, base)
    said, before = _given(one), _given(first)
    places = sorted((n for n in range(len(items)) if own[n] != base[n]), key=lambda n: own[n])
    lines = [
        (int(items[n].key) + 1, _text(items[n]), _shown(right_label(items[n], one.config)), _shown(before[n]),
         _shown(said[n]), "better" if own[n] else "worse")
        for n in places[:_MOST_ROWS]
    ]  # fmt: skip
    notes = [_told(test, one.name, first.name)]
    if len(places) > _MOST_ROWS:
        notes.append(f"the first {_MOST_ROWS} of {len(places)} rows: all are on the page (--html)")
    columns = ("row", "text", "right", first.name, one.name, "change")
    return Table.of(f"{one.name} against {first.name}: rows that change", columns, lines, notes)


def _told(test: McNemar, model: str, against: str) -> str:
    """In words; one p-value, of one comparison."""
    return (
        f"{test.only_first} rows are right with {model} alone, {test.only_second} with {against} alone "
        f"(McNemar's exact test: p = {test.p_value:.3g})"
    )


def _text(item: Item) -> str:
    text = " | ".join(part for row in item.input.rows for part in row)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _shown(label: Any) -> str:
    return ", ".join(label) or "(none)" if isinstance(label, list) else str(label)


def write_answers(folder: str | Path, task: str, found: Sequence[Answered], items: Sequence[Item]) -> None:
    """Each model's answers as JSON Lines with a header, for `slonik board` to hold two against each other.

    A line has the row's number from 0, its text, the answer and what is right.

    Raises:
        SlonikError: the folder cannot be made.
    """
    texts = [" | ".join(part for row in item.input.rows for part in row) for item in items]
    rights = [_shown(right_label(item, found[0].config)) for item in items]
    known = sha256_json([texts, rights])
    with new_folder(folder) as made:
        for number, one in enumerate(found):
            name = f"{number}.{task}.jsonl".replace("/", "_")
            lines = _lines(one, items, texts)
            write_text(made / name, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            header = {"suite": "own", "task": task, "items": known, "n": len(items), "model": one.name}
            write_json(made / name.replace(".jsonl", ".header.json"), header)


def _lines(one: Answered, items: Sequence[Item], texts: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for item, text, values in zip(items, texts, one.answers, strict=True):
        right = right_label(item, one.config)
        yield {"idx": int(item.key), "text": text, **answer_line(one.config, values), "right": right}
