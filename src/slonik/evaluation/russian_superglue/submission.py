"""The zip that the leaderboard takes: nine files `<Task>.jsonl`, one JSON object per line, sorted by number.

A line is `{"idx", "label"}` with labels in the official spelling (text, true / false, 0 / 1); MuSeRC nests passage,
questions and answers as its data does. Sources: `tfidf_baseline/` and the submission cell of the notebook in
RussianNLP/RussianSuperGLUE; DeepPavlov's guide for the files standing at the root of the archive. Before a zip is
written, and when one is read, it is checked against the official test items.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes
from slonik.evaluation.russian_superglue.predictions import Prediction, aligned, parse_probabilities
from slonik.evaluation.russian_superglue.tasks import TASKS, Example, Task, parse_label

_DATE = (2020, 1, 1, 0, 0, 0)  # the same answers give the same bytes
_LARGEST_FILE = 1 << 28


def write_submission(
    path: str | Path, answers: Mapping[str, Sequence[Prediction]], tests: Mapping[str, Sequence[Example]]
) -> None:
    """Write the zip, atomically; nothing is written unless every task is answered completely.

    Args:
        answers: task id -> predictions for its test items.
        tests: task id -> those items.

    Raises:
        SlonikError: missing tasks (all are named), or answers to other items.
    """
    check_complete(answers, "answers")
    check_complete(tests, "test items")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for task in TASKS.values():
            rows = aligned(tests[task.id], answers[task.id], f"answers to {task.name}")
            lines = [json.dumps(row, ensure_ascii=False) for row in official_rows(task, tests[task.id], rows)]
            member = zipfile.ZipInfo(f"{task.name}.jsonl", _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, "".join(f"{line}\n" for line in lines))
    write_bytes(path, stream.getvalue())


def check_complete(found: Mapping[str, Any], what: str) -> None:
    """Refuse a submission that lacks a task.

    Raises:
        SlonikError: naming every missing task.
    """
    missing = [task.name for task in TASKS.values() if task.id not in found]
    if missing:
        raise SlonikError(
            f"a submission needs all nine tasks, {what} are missing for {', '.join(missing)}: nothing was written"
        )


def official_rows(task: Task, examples: Sequence[Example], rows: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Lines of one file, sorted by number.

    Args:
        rows: in the order of the examples.
    """
    if task.kind == "answers":
        return _nested(rows)
    joined: dict[int, list[str]] = {}
    if task.kind == "cloze":  # a row with several queries has their answers joined, as in the official code
        for example, row in zip(examples, rows, strict=True):
            joined.setdefault(int(example.cluster), []).append(str(row.label))
        return [{"idx": idx, "label": " ".join(joined[idx])} for idx in sorted(joined)]
    return [{"idx": row.idx, "label": row.label} for row in sorted(rows, key=lambda row: int(row.idx))]


def read_submission(path: str | Path, tests: Mapping[str, Sequence[Example]]) -> dict[str, list[Prediction]]:
    """Answers of a zip, or of a folder with its files, checked against the test items.

    Args:
        tests: task id -> items, for the tasks that are to be read.

    Raises:
        SlonikError: not a zip, a missing or foreign file, a damaged line, a wrong label, or other items.
    """
    try:
        texts = _texts(Path(path), list(tests))
    except FileNotFoundError:
        raise SlonikError(f"there is no submission {path}") from None
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError, OSError) as error:
        raise SlonikError(f"{path} is not a sound zip of predictions ({error}): make it again") from None
    answers = {}
    for task_id, text in texts.items():
        task, examples = TASKS[task_id], tests[task_id]
        rows = _read_rows(task, text, examples, f"{path}, {task.name}.jsonl")
        answers[task_id] = list(aligned(examples, rows, f"{task.name}.jsonl of {path}"))
    return answers


def read_official_file(task_id: str, path: Path, examples: Sequence[Example]) -> list[Prediction]:
    """Answers in one file of the site's form, as `slonik predict` writes them, with probabilities where it has some.

    Raises:
        SlonikError: no such file, a damaged line, a wrong label, or other items.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SlonikError(f"{path} cannot be read: {error}") from None
    return list(aligned(examples, _read_rows(TASKS[task_id], text, examples, str(path)), str(path)))


def official_files(folder: Path) -> dict[str, Path]:
    """Task id -> `<Task>.jsonl`, for the tasks that have one in `folder`."""
    found = {task.id: folder / f"{task.name}.jsonl" for task in TASKS.values()}
    return {task: path for task, path in found.items() if path.is_file()}


def _texts(path: Path, tasks: Sequence[str]) -> dict[str, str]:
    if path.is_dir():
        files = official_files(path)
        _check_has(path, files, tasks)
        return {task: files[task].read_text(encoding="utf-8-sig") for task in tasks}
    with zipfile.ZipFile(path) as archive:
        members = _members(archive, path)
        _check_has(path, members, tasks)
        return {task: archive.read(members[task]).decode("utf-8-sig") for task in tasks}


def _check_has(path: Path, found: Mapping[str, Any], tasks: Sequence[str]) -> None:
    missing = [f"{TASKS[task].name}.jsonl" for task in tasks if task not in found]
    if missing:
        raise SlonikError(f"{path} has no {', '.join(missing)}: a submission needs all nine tasks")


def _nested(rows: Sequence[Prediction]) -> list[dict[str, Any]]:
    passages: dict[int, dict[int, list[dict[str, Any]]]] = {}
    for row in rows:
        passage, question, answer = map(int, str(row.idx).split("/"))
        questions = passages.setdefault(passage, {})
        questions.setdefault(question, []).append({"idx": answer, "label": int(row.label)})
    return [
        {
            "idx": passage,
            "passage": {"questions": [{"idx": q, "answers": answers} for q, answers in passages[passage].items()]},
        }
        for passage in sorted(passages)
    ]


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Task id -> its file, at the root or in one folder, as 7-Zip packs one."""
    names = {f"{task.name}.jsonl": task.id for task in TASKS.values()}
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.rsplit("/", 1)[-1]
        if member.is_dir() or member.filename.startswith("__MACOSX/"):
            continue
        if name not in names:
            raise SlonikError(f"{path} holds {member.filename!r}, which is no file of a submission: remove it")
        if names[name] in found or member.file_size > _LARGEST_FILE:
            raise SlonikError(f"{path} holds {name} twice or of {member.file_size} bytes: make it again")
        found[names[name]] = member
    return found


def _read_rows(task: Task, text: str, examples: Sequence[Example], where: str) -> list[Prediction]:
    rows: list[Prediction] = []
    by_row: dict[str, list[Example]] = {}
    for example in examples:
        by_row.setdefault(example.cluster, []).append(example)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        try:
            row = json.loads(line)
            rows += _unnested(task, row, place) if task.kind == "answers" else _plain(task, row, by_row, place)
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise SlonikError(f"{place} is not a line of a submission ({error!r}): make it again") from None
    return rows


def _plain(task: Task, row: Any, by_row: Mapping[str, Sequence[Example]], where: str) -> list[Prediction]:
    label = parse_label(task, row["label"], where)
    shares = parse_probabilities(task, row.get("probabilities"), where)
    queries = by_row.get(str(int(row["idx"])), ())
    # one text answers every query of a RuCoS row, as the official code scores it
    return [Prediction(example.idx, label, shares) for example in queries] or [Prediction(int(row["idx"]), label)]


def _unnested(task: Task, row: Any, where: str) -> list[Prediction]:
    shares = row.get("probabilities") or {}
    rows = []
    for question in row["passage"]["questions"]:
        for answer in question["answers"]:
            idx = f"{row['idx']}/{question['idx']}/{answer['idx']}"
            label = parse_label(task, answer["label"], where)
            rows.append(Prediction(idx, label, parse_probabilities(task, shares.get(idx), where)))
    return rows
