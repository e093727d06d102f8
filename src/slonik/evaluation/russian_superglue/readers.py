"""Official files of Russian SuperGLUE to examples: JSON Lines in UTF-8 with or without a byte order mark.

MuSeRC gives one example per answer option, RuCoS one per query, every other task one per row. A line that is not
sound JSON (a file cut in the middle), a missing field and a wrong label are refused with their place; nothing is
guessed. Which version of the benchmark a file belongs to is checked where its size tells it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError, lookup
from slonik.evaluation.russian_superglue.tasks import SUITE, TASKS, VERSION, Example, Task, parse_label
from slonik.text.lines import numbered_lines

# Rows of splits that version 1.1 changed in size, as they were in 1.0 (Shavrina et al. 2020, table of sizes).
_FORMER_SIZES = {
    ("danetqa", "train"): 392,
    ("danetqa", "val"): 295,
    ("danetqa", "test"): 295,
    ("russe", "val"): 8508,
    ("russe", "test"): 12151,
}
_OPTIONAL = {"rcb": ("verb", "negation")}
LINGUISTIC = ("lexical-semantics", "predicate-argument-structure", "logic", "knowledge")  # columns of LiDiRus


def find_file(task_id: str, split: str, folder: Path) -> Path | None:
    """The file of one split in the data folder, None where it is not there.

    Args:
        folder: the data folder, which holds `russian_superglue/`.

    Raises:
        SlonikError: unknown task, or a split that the task does not have.
    """
    task = lookup(task_id, TASKS, "task")
    path = folder / SUITE / task.name / lookup(split, task.files, f"split of {task.name}")
    return path if path.is_file() else None


def read_examples(task_id: str, path: str | Path) -> list[Example]:
    """Examples of a task's file, in its order.

    Raises:
        SlonikError: unknown task, no such file, a damaged line, a missing field, a wrong label, a repeated number,
            no example at all, or a file of version 1.0.
    """
    task = lookup(task_id, TASKS, "task")
    examples: list[Example] = []
    rows = 0
    for row, where in read_rows(Path(path)):
        examples += parse_row(task, row, where)
        rows += 1
    if not examples:
        raise SlonikError(f"{path} holds no example of {task.name}: fetch it again")
    _check_version(task, Path(path), rows)
    seen: set[int | str] = set()
    for example in examples:
        if example.idx in seen:
            raise SlonikError(f"{path}: the number {example.idx!r} comes twice: each item needs its own idx")
        seen.add(example.idx)
    return examples


def read_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """JSON objects of a file, each with its place ("FILE, line N"); empty lines are left out.

    Raises:
        SlonikError: no such file, not UTF-8, or a line that is not a JSON object.
    """
    if not path.exists():
        raise SlonikError(f"there is no file {path}: run `slonik fetch russian-superglue`, or mend the path")
    for number, line in numbered_lines(path):
        if line.strip():
            where = f"{path}, line {number}"
            yield _object(line, where), where


def parse_row(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    """Examples of one official row.

    Args:
        where: file and line, for error sentences.

    Raises:
        SlonikError: a missing field or a wrong label.
    """
    return _PARSERS.get(task.id, _flat)(task, row, where)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise SlonikError(f"{where} is not sound JSON ({error.msg}): the file is cut or damaged") from None
    if not isinstance(row, dict):
        raise SlonikError(f"{where} is not a JSON object: this is not a file of Russian SuperGLUE")
    return row


def _check_version(task: Task, path: Path, rows: int) -> None:
    for (name, split), size in _FORMER_SIZES.items():
        if name == task.id and path.name == task.files[split] and rows == size:
            raise SlonikError(
                f"{path} has {rows} rows, as in version 1.0 of {task.name}; this is version {VERSION}, and scores of "
                f"the two do not mix: get {task.url}"
            )


def _flat(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    names = (*task.texts, *_OPTIONAL.get(task.id, ()))
    fields = {name: _text(row, name, where, optional=name not in task.texts) for name in names}
    return [_example(task, row, fields, where)]


def _diagnostic(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    fields = {name: _text(row, name, where) for name in task.texts}
    fields |= {name: _text(row, name, where) for name in LINGUISTIC if row.get(name)}
    return [_example(task, row, fields, where)]


def _word(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    fields: dict[str, Any] = {name: _text(row, name, where) for name in task.texts}
    for number in ("1", "2"):
        start, end = _number(row, f"start{number}", where), _number(row, f"end{number}", where)
        length = len(fields[f"sentence{number}"])
        if not 0 <= start < min(end, length):
            raise SlonikError(f"{where}: characters {start} to {end} are not inside sentence{number}")
        # official spans often take in the space after the word, which at the end of a sentence is not there
        fields |= {f"start{number}": start, f"end{number}": min(end, length)}
    return [_example(task, row, fields, where)]


def _coreference(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    target = _part(row, "target", dict, where)
    fields: dict[str, Any] = {"text": _text(row, "text", where)}
    for number in ("1", "2"):
        fields[f"span{number}_text"] = _text(target, f"span{number}_text", where)
        fields[f"span{number}_index"] = _number(target, f"span{number}_index", where)
    return [_example(task, row, fields, where)]


def _answers(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    passage = _part(row, "passage", dict, where)
    text, number = _text(passage, "text", where), _idx(row, where)
    examples = []
    for question in _part(passage, "questions", list, where):
        asked, group = _text(question, "question", where), f"{number}/{_idx(question, where)}"
        for answer in _part(question, "answers", list, where):
            fields = {"passage": text, "question": asked, "answer": _text(answer, "text", where)}
            label = _label(task, answer, where)
            idx = f"{group}/{_idx(answer, where)}"
            examples.append(Example(idx, fields, label, cluster=str(number), group=group))
    return examples


def _cloze(task: Task, row: dict[str, Any], where: str) -> list[Example]:
    passage = _part(row, "passage", dict, where)
    text, number = _text(passage, "text", where), _idx(row, where)
    entities: dict[str, None] = {}
    for entity in sorted(_part(passage, "entities", list, where), key=lambda found: _number(found, "start", where)):
        start, end = _number(entity, "start", where), _number(entity, "end", where)
        if not 0 <= start < end <= len(text):
            raise SlonikError(f"{where}: the entity from character {start} to {end} is not inside the passage")
        entities[text[start:end]] = None
    queries = _part(row, "qas", list, where)
    examples = []
    for query in queries:
        fields = {"passage": text, "query": _text(query, "query", where), "entities": list(entities)}
        found = query.get("answers") or []
        right = tuple(dict.fromkeys(_text(answer, "text", where) for answer in found))
        idx = number if len(queries) == 1 else f"{number}/{_idx(query, where)}"
        examples.append(Example(idx, fields, None, right, cluster=str(number), group=str(idx)))
    return examples


_PARSERS: dict[str, Callable[[Task, dict[str, Any], str], list[Example]]] = {
    "lidirus": _diagnostic,
    "russe": _word,
    "rwsd": _coreference,
    "muserc": _answers,
    "rucos": _cloze,
}


def _example(task: Task, row: dict[str, Any], fields: dict[str, Any], where: str) -> Example:
    idx = _idx(row, where)
    return Example(idx, fields, _label(task, row, where), cluster=str(idx), group=str(idx))


def _label(task: Task, row: dict[str, Any], where: str) -> Any:
    value = row.get("label")
    return None if value is None else parse_label(task, value, where)


def _idx(row: Any, where: str) -> int:
    return _number(row, "idx", where)


def _number(row: Any, name: str, where: str) -> int:
    value = row.get(name) if isinstance(row, dict) else None
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SlonikError(f"{where}: the field {name!r} is missing or not a whole number")
    return value


def _text(row: Any, name: str, where: str, *, optional: bool = False) -> str:
    value = row.get(name) if isinstance(row, dict) else None
    if optional and value is None:
        return ""
    if not isinstance(value, str):
        raise SlonikError(f"{where}: the field {name!r} is missing or not a text")
    return value


def _part(row: Any, name: str, kind: type, where: str) -> Any:
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        raise SlonikError(f"{where}: the field {name!r} is missing or has another form")
    return value
