"""The board of everything measured: reads runs, adds published rows and answers to items, writes the site; checks
what third parties hand in.

Pages and tables are made by `slonik.reporting.board`; here is what needs to know benchmarks: published rows, the
items and texts of Russian SuperGLUE behind files of predictions, and answers to rows of the user's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slonik.core.errors import SlonikError
from slonik.core.files import check_new_file
from slonik.core.numbers import check_seed
from slonik.core.paths import data_dir as data_folder
from slonik.core.records import Record, write_records
from slonik.evaluation.comparison import mcnemar
from slonik.evaluation.published import all_published
from slonik.evaluation.russian_superglue.metrics import hits_of
from slonik.evaluation.russian_superglue.parts import Part, part_of
from slonik.evaluation.russian_superglue.predictions import Predictions, has_header, read_predictions
from slonik.evaluation.russian_superglue.records import scored
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, SUITE, TASKS, label_name
from slonik.reporting.board.reading import PREDICTIONS_HEADER, Answers, Found, add_records, read_sources
from slonik.reporting.board.site import Board, write_site
from slonik.reporting.board.submissions import Checked, check_records, read_submission
from slonik.reporting.board.tables import shown_figure
from slonik.reporting.scores import is_difference
from slonik.text.lines import read_json

_TEXTS_MAY_BE_SHOWN = frozenset({"MIT", "Apache-2.0", "CC0", "CC BY 4.0", "CC BY-SA 4.0"})
_LONGEST = 600  # characters of an item's text
OWN = "own"
_REWRITE = "slonik evaluate own --predictions writes such files"
_ONE_HIT_PER_ITEM = frozenset({"terra", "rcb", "parus", "russe", "rwsd", "danetqa", "lidirus"})


def board(
    paths: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    title: str = "Models side by side",
    about: str = "",
    published: bool = True,
    rumteb: str | Path | None = None,
    aliases: Mapping[str, str] | None = None,
    data_dir: str | Path | None = None,
    overwrite: bool = False,
) -> Board:
    """One static site of many models: tables with intervals and ranges of ranks, a page per model, two item by item.

    Args:
        paths: result files (--json, .csv), checkpoints, runs; folders are read with everything below them.
        out: folder of the site; `index.html` opens without a server.
        published: add what others published, in rows of their own.
        rumteb: a newer reading of MTEB(rus)'s published results.
        aliases: name -> the name of the model that it is of.
        data_dir: the data folder, for right answers and texts behind files of predictions.
        overwrite: replace a folder that is there.

    Raises:
        SlonikError: nothing was measured there, a broken result file, or `out` cannot be made.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found = read_sources(given)
    _check_any_stands(found, given)
    if published:
        add_records(found, all_published(rumteb), "published")
    _add_answers(found, data_folder(data_dir))
    names = dict(aliases) if aliases else None
    return write_site(found, out, title=title, about=about, aliases=names, overwrite=overwrite)


def _check_any_stands(found: Found, given: Sequence[str | Path]) -> None:
    """Refuse what would make a board without a row: published rows alone are no board of the user's models."""
    if found.passports or any(shown_figure(figure) for figure in found.figures):
        return
    names = ", ".join(map(str, given))
    if any(is_difference(figure.record) for figure in found.figures):
        raise SlonikError(
            f"{names}: there are differences of two models and no figure of a model, which is what a board shows: give "
            "the records of the models too (slonik evaluate --json writes both)"
        )
    raise SlonikError(f"{names}: no record there has a value, so there is nothing to show: measure again")


def check_submission(
    path: str | Path,
    *,
    by: str | None = None,
    against: Sequence[str | Path] = (),
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> Checked:
    """Check what a third party hands in, and mark it as reported by them.

    Args:
        path: records (.json, .csv), or predictions for Russian SuperGLUE (.jsonl with their header beside them).
        by: who measured.
        against: result files and folders of ours, whose items and protocols theirs are held against.
        data_dir: the data folder with the items that predictions answer.
        out: write the accepted records here, for `board` to read; None = only check.
        seed: of the bootstrap of predictions.

    Raises:
        SlonikError: anything that cannot stand on a board; the sentence says what and why.
    """
    check_seed(seed)
    file = Path(path)
    if not file.exists():
        raise SlonikError(f"there is no {path}")
    if out is not None:
        _check_accepted_file(Path(out), file)
    ours = read_sources(list(against)).figures if against else []
    if file.suffix == ".jsonl":
        records: Sequence[Record] = _scored_predictions(file, data_folder(data_dir), seed)
    else:
        records = read_submission(file)
    checked = check_records(records, file.name, ours, by=by)
    if out is not None:
        write_records(out, checked.records)
    return checked


def _check_accepted_file(out: Path, submitted: Path) -> None:
    if out.suffix != ".json":
        raise SlonikError(f"--out is {out}: accepted records are written as JSON: name a file that ends in .json")
    if out.exists() and out.samefile(submitted):
        raise SlonikError(f"--out is {out}, which is what is handed in: name another file")
    check_new_file(out)


def _scored_predictions(path: Path, folder: Path, seed: int) -> tuple[Record, ...]:
    if not has_header(path):
        raise SlonikError(f"{path} has no header beside it, so what it answers is unknown: slonik predict writes both")
    predictions = read_predictions(path)
    part = part_of(predictions, folder, str(path))
    if not part.is_labelled:
        raise SlonikError(f"{path} answers {part.path}, which has no right answers to score it by: hand in its records")
    header = predictions.header
    found = scored(part, predictions.rows, header.model, seed=seed, weights=header.weights)
    return found.records


def _add_answers(found: Found, folder: Path) -> None:
    """Answers to the same items, by their hash; right answers and texts where the data is at hand."""
    groups: dict[tuple[str, str, str], list[tuple[str, Predictions]]] = {}
    own: dict[tuple[str, str], list[Path]] = {}
    for path in found.predictions:
        if (suite := _suite_of(path)) == OWN:
            own.setdefault(_own_key(path), []).append(path)
            continue
        if suite != SUITE:
            found.notices.append(f"{path}: answers of the suite {suite} are not shown item by item")
            continue
        predictions = read_predictions(path)
        header = predictions.header
        groups.setdefault((header.task, header.split, header.items), []).append((header.model, predictions))
    found.answers += [_own_answers(task, items, paths) for (task, items), paths in own.items()]
    groups = {place: _named_apart(answered) for place, answered in groups.items()}
    lacking = set()
    for (task, split, items), answered in groups.items():
        part = _part(answered[0][1], folder)
        if part is None:
            lacking.add(f"{TASKS[task].name} {split}")
        found.answers.append(_answers(task, split, items, answered, part))
        if part is not None and part.is_labelled and task in _ONE_HIT_PER_ITEM:
            known = {_compared(figure.record) for figure in found.figures}
            made = [one for one in _differences(part, answered) if _compared(one) not in known]
            add_records(found, made, "predictions")
    if lacking:
        found.notices.append(
            f"predictions for {', '.join(sorted(lacking))} have no right answers and texts here: their items are not "
            f"in {folder} (--data-dir)"
        )


def _header(path: Path) -> dict[str, Any]:
    return read_json(path.with_name(path.name.removesuffix(".jsonl") + PREDICTIONS_HEADER))


def _suite_of(path: Path) -> str:
    """The suite that a file of predictions is of, as its header says; this one's where it says nothing."""
    return str(_header(path).get("suite", SUITE))


def _own_key(path: Path) -> tuple[str, str]:
    header = _header(path)
    if any(not isinstance(header.get(name), str) for name in ("task", "items", "model")):
        raise SlonikError(f"the header of {path} lacks its task, items or model: {_REWRITE}")
    return header["task"], header["items"]


def _own_answers(task: str, items: str, paths: Sequence[Path]) -> Answers:
    """Answers to rows of the user's own, which are in the files with their texts and right labels."""
    read = [[_own_line(path, n, line) for n, line in enumerate(_lines_of(path), start=1)] for path in paths]
    first, by_model = read[0], {}
    for path, lines in zip(paths, read, strict=True):
        if [line[:3] for line in lines] != [line[:3] for line in first]:
            raise SlonikError(f"{path} has other rows than {paths[0]}, and the headers say that they are the same")
        model = name = str(_header(path)["model"])
        number = 1
        while model in by_model:
            number += 1
            model = f"{name} run {number}"
        by_model[model] = tuple(line[3] for line in lines)
    ids, texts, gold = (tuple(line[place] for line in first) for place in range(3))
    return Answers(OWN, task, "rows", items, ids, by_model, gold, texts, "the user's own rows")


def _lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def _own_line(path: Path, number: int, text: str) -> tuple[str, str, str, str]:
    """The row's number, its text, the right label, the answer."""
    try:
        line = json.loads(text)
        whole = str(line["text"])
        told = whole if len(whole) <= _LONGEST else whole[: _LONGEST - 1] + "…"
        return str(line["idx"]), told, _label_told(line["right"]), _label_told(line["label"])
    except (ValueError, KeyError, TypeError):
        raise SlonikError(
            f"{path}, line {number} has no idx, text, label and right: {text[:60]!r}; {_REWRITE}"
        ) from None


def _label_told(label: Any) -> str:
    return ", ".join(map(str, label)) if isinstance(label, list) else str(label)


def _named_apart(answered: Sequence[tuple[str, Predictions]]) -> list[tuple[str, Predictions]]:
    """The same, several runs of one model told apart by their seeds, or else by their place."""
    names = [name for name, _ in answered]
    told: list[tuple[str, Predictions]] = []
    for number, (name, predictions) in enumerate(answered):
        seed = predictions.header.seed
        if names.count(name) > 1:
            name = f"{name} seed {seed}" if seed is not None else f"{name} run {number + 1}"
        while name in [other for other, _ in told]:
            name += " again"
        told.append((name, predictions))
    return told


def _part(predictions: Predictions, folder: Path) -> Part | None:
    try:
        return part_of(predictions, folder, "predictions")
    except SlonikError:
        return None


def _answers(
    task: str, split: str, items: str, answered: Sequence[tuple[str, Predictions]], part: Part | None
) -> Answers:
    order = [row.idx for row in answered[0][1].rows]
    by_model = {}
    for name, predictions in answered:
        labels = {row.idx: label_name(row.label) for row in predictions.rows}
        by_model[name] = tuple(labels.get(idx, "–") for idx in order)
    gold = texts = None
    licence = TASKS[task].licence
    if part is not None:
        examples = {example.idx: example for example in part.examples}
        if part.is_labelled:
            gold = tuple(
                label_name(e.label) if (e := examples[idx]).label is not None else " | ".join(e.answers)
                for idx in order
            )
        if licence in _TEXTS_MAY_BE_SHOWN:
            fields = TASKS[task].texts
            told = (" — ".join(str(examples[idx].fields.get(name, "")) for name in fields) for idx in order)
            texts = tuple(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…" for text in told)
    return Answers(SUITE, task, split, items, tuple(map(str, order)), by_model, gold, texts, f"{licence}; {PROTOCOL}")


def _compared(record: Record) -> tuple[object, ...]:
    """What a difference is of: the task, the metric, the two models in any order."""
    pair = frozenset((record.detail.get("model"), record.detail.get("against")))
    return record.suite, record.task, record.detail.get("of"), pair


def _differences(part: Part, answered: Sequence[tuple[str, Predictions]]) -> list[Record]:
    """Accuracy's paired differences of all pairs, told apart by McNemar's exact test on the items."""
    if "accuracy" not in part.task.metrics:
        return []
    hits = {name: hits_of(part.task.id, part.examples, found.rows) for name, found in answered}
    records, names = [], list(hits)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            test = mcnemar(hits[first], hits[second])
            n = len(hits[first])
            records.append(
                Record(
                    suite=SUITE, task=part.task.id, model=f"{first} - {second}", metric="difference", n=n,
                    value=(test.only_first - test.only_second) / n, hashes=part.hashes(),
                    detail={"model": first, "against": second, "of": "accuracy", "p_value": test.p_value,
                            "test": "McNemar", "split": part.split},
                )
            )  # fmt: skip
    return records
