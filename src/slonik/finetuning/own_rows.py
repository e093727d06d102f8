"""A row of the user's data as an item: its texts, its label, its prompts, and the spellings that labels have.

One reading for whatever learns, answers or is measured (`own`, `own_evaluation`, `predictors`); files are opened in
`rows`, and which rows are learned from or measured is decided in `own`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from slonik.core.errors import SlonikError
from slonik.data.labelled import parse_question
from slonik.finetuning.config import OwnData
from slonik.finetuning.data_check import CheckedRows, canonical_labels, text_key
from slonik.finetuning.items import Asked, Item
from slonik.finetuning.rows import Rows, read_labelled, row_place
from slonik.finetuning.tasks import pair_input
from slonik.text.pairs import TaskInput
from slonik.text.task_config import TaskConfig

PROMPTS = "own_prompts"
"""Detail of a task: the user's prompts, with {column} where texts go."""


def labelled_rows(
    source: Rows,
    name: str,
    texts: Sequence[str],
    label: str,
    *,
    several: bool = False,
    more: Sequence[str] = (),
    unlabelled: Literal["refuse", "leave_out"] | None = None,
) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """Rows by their number from 0, those with a label alone, and a warning about the others.

    Args:
        texts, label, more: columns that must be there. several: a row has a list of labels, which may be empty.
        unlabelled: what happens to rows without a label; None: they are refused, and there is no option for it.

    Raises:
        SlonikError: rows without a label, unless they are to be left out; a label that is no text, number or truth.
    """
    rows = dict(enumerate(read_labelled(source, (*texts, *more), label)))
    for n, row in rows.items():
        value = row[label]
        if isinstance(value, Mapping) or (isinstance(value, list | tuple) and not several):
            kind = "an object" if isinstance(value, Mapping) else "a list: give --kind multilabel for several labels"
            raise SlonikError(
                f"{row_place(name, n)}: {label!r} is {str(value)[:60]}, {kind}; a label is a text or number"
            )
    # an empty list is no label at all, and says so
    missing = [n for n, row in rows.items() if _is_null(row[label], empty=not several)]
    if not missing:
        return rows, []
    first = rows[missing[0]]
    value = "null" if _is_null(first[label], empty=False) else f"null ({first[label]!r} is empty)"
    told = f"{row_place(name, missing[0])}: {label!r} is {value}, as in {len(missing)} of {len(rows)} rows"
    told = f"{told} (text {str(first[texts[0]])[:60]!r})"
    if unlabelled != "leave_out":
        raise SlonikError(
            f"{told}: fill it in, "
            + ("remove the rows, or let them be left out (--skip-unlabelled)" if unlabelled else "or remove the rows")
        )
    if len(missing) == len(rows):
        raise SlonikError(f"{told}: no labelled row is left")
    return {n: row for n, row in rows.items() if n not in set(missing)}, [f"{told}: these rows are left out"]


def _is_null(value: Any, *, empty: bool) -> bool:
    return value is None or value != value or (empty and isinstance(value, str) and not value.strip())


def label_names(own: OwnData, value: Any) -> list[str]:
    """The labels of a row as they are spelled; none where they are numbers or free texts."""
    if own.kind in ("regression", "text2text", "qa"):
        return []
    return label_list(value) if own.kind == "multilabel" else [label_text(value)]


def checked_rows(own: OwnData, rows: Mapping[int, Mapping[str, Any]], name: str) -> CheckedRows:
    """Rows of the file `name` as the check for dirty data takes them."""
    texts = [tuple(str(row[column]) for column in own.text_columns) for row in rows.values()]
    names = [tuple(label_names(own, row[own.label_column])) for row in rows.values()]
    return CheckedRows(name, texts, names if any(names) else [], [n + 1 for n in rows])


def own_item(
    row: Mapping[str, Any],
    number: int,
    config: TaskConfig,
    where: str,
    *,
    labelled: bool = True,
    group: str | None = None,
) -> Item:
    """A row as an item, for encoders and in words; `where` begins the sentence of an error.

    Args:
        group: column whose equal values keep rows together; None: rows of one first text, whatever its case and spaces.

    Raises:
        SlonikError: a label that the task does not have, a column that is missing or no text.
    """
    texts = [_text(row, column, where) for column in config.columns["text"]]
    given = pair_input(texts[0], texts[1], config.pairs) if len(texts) == 2 else TaskInput(((texts[0],),))
    label = _label_of(row.get(config.columns["label"]), where, config) if labelled else None
    asked = None
    first, *others = _prompts_of(row, config, where) or ["\n".join(texts)]
    if config.target == "text":
        right = None if label is None else 0
        asked = Asked(first, () if label is None else (label,), right, free=True, others=tuple(others))
    elif config.target == "single":
        asked = Asked(first, config.labels, label, others=tuple(others))
    kept = text_key(texts[:1]) if group is None else str(row[group])
    names = (
        tuple(name for name, has in zip(config.labels, label or [], strict=False) if has)
        if config.target == "multi"
        else ()
    )
    return Item(number, given, label, kept, asked, names)


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise SlonikError(f"{where}: the column {column!r} is missing or not a text")
    return value


def _prompts_of(row: Mapping[str, Any], config: TaskConfig, where: str) -> list[str]:
    """The user's own prompts, filled in with a row.

    Raises:
        SlonikError: a prompt names a column that the row does not have.
    """
    made = []
    for prompt in config.details.get(PROMPTS, ()):
        try:
            made.append(str(prompt).format_map(row))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            known = ", ".join(f"{{{name}}}" for name in row)
            raise SlonikError(f"{where}: the prompt {prompt!r} cannot be filled in ({error}): use {known}") from None
    return made


def read_row(row: Mapping[str, Any], config: TaskConfig, where: str) -> Any:
    """A row without its label, for `answer_rows`.

    Raises:
        SlonikError: a column that is missing or no text; `where` begins the sentence.
    """
    if config.target == "answer":
        return parse_question({**row, "answers": []}, "", where)
    return own_item(row, 0, config, where, labelled=False)


def _label_of(value: Any, where: str, config: TaskConfig) -> Any:
    if config.target == "text":
        return label_text(value)
    if config.target == "number":
        mean, deviation = config.scale or (0.0, 1.0)
        return (label_number(value, where) - mean) / deviation
    given = label_list(value) if config.target == "multi" else [label_text(value)]
    names = [known_label(name, config.labels) for name in given]
    unknown = [name for name in names if name not in config.labels]
    if unknown:
        raise SlonikError(f"{where}: the label {unknown[0]!r} is not in the training file ({', '.join(config.labels)})")
    if config.target == "multi":
        return [float(name in names) for name in config.labels]
    return config.labels.index(names[0])


def right_label(item: Item, config: TaskConfig) -> Any:
    """The label of an item as its data has it: a name, a list of names, a number in the data's units, a text."""
    if config.target == "single":
        return config.labels[int(item.label)]
    if config.target == "multi":
        return [name for name, has in zip(config.labels, item.label, strict=True) if has > 0.5]
    if config.target == "number":
        mean, deviation = config.scale or (0.0, 1.0)
        return float(item.label) * deviation + mean
    return str(item.label)


def label_text(value: Any) -> str:
    """A label as text: true and 1 keep their JSON spelling."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def label_list(value: Any) -> list[str]:
    """Labels of a multi-label row: a JSON list, or a text with ";" between them."""
    if isinstance(value, list):
        return [label_text(one) for one in value]
    if value is None:
        return []
    return [part.strip() for part in str(value).split(";") if part.strip()]


def known_label(name: str, labels: Sequence[str]) -> str:
    """A label as a task spells it: itself, without spaces around it, or the same number; else as it is."""
    if name in labels:
        return name
    plain = canonical_labels([*labels, name])
    return next((label for label in labels if plain[label] == plain[name]), name)


def comma_warning(values: Iterable[Any], name: str) -> list[str]:
    """What is to be said of numbers with a comma: it is read as a decimal one, and may have parted thousands."""
    given = [value for value in values if value is not None]
    commas = [text for value in given if "," in (text := str(value))]
    if not commas:
        return []
    shown = next((text for text in commas if re.search(r",\d{3}$", text.strip())), commas[0])
    return [
        f"{name}: {len(commas):,} of {len(given):,} numbers have a comma, which is read as a decimal one "
        f"({shown!r} is {shown.strip().replace(',', '.')})"
    ]


def label_number(value: Any, where: str) -> float:
    """A label as a number, with a point or a comma.

    Raises:
        SlonikError: it is none; `where` begins the sentence.
    """
    text = str(value)
    try:
        found = float("nan" if "_" in text else text.replace(",", "."))
    except ValueError:
        found = float("nan")
    if not np.isfinite(found):
        raise SlonikError(f"{where}: the label {value!r} is not a number: regression needs numbers")
    return found
