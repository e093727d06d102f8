"""`slonik show CHECKPOINT`: its passport, shape, size, measurements, and the loader it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slonik.cli.common import file_to_write, print_tables

if TYPE_CHECKING:
    from slonik.core.passport import Step
    from slonik.core.records import Record
    from slonik.models.describe import Description
    from slonik.reporting.table import Table


def show(
    checkpoint: str | None = typer.Argument(
        None, help="Folder, hub id, embedded:NAME, or the name of a baseline; the embedded models if none."
    ),
    everything: bool = typer.Option(
        False, "--all", help="Every step's configuration and every record, however long that is."
    ),
    json: Path | None = typer.Option(
        None, help="Write everything that is shown to this file as one JSON object.", callback=file_to_write
    ),
) -> None:
    """Passport of a checkpoint: lineage, shape, size, what was measured, which loader it needs, on one screen.

    --all shows every setting and every record, --json has them for programs. Without a checkpoint: the models that
    packages carry, and which of them are installed.
    """
    from slonik.core.errors import SlonikError
    from slonik.core.files import write_json
    from slonik.models.opening import show as show_model
    from slonik.reporting.table import Table

    if checkpoint is None:
        if everything:
            raise SlonikError("--all is about one checkpoint: name it")
        _show_embedded(json)
        return
    found = show_model(checkpoint)
    tables = [
        Table.of(checkpoint, ("", ""), _facts_rows(found)),
        _lineage_table(found.passport.lineage) if everything else _lineage_in_short(found.passport.lineage),
        _records_table(found.passport.records) if everything else _records_in_short(found.passport.records),
    ]
    print_tables(table for table in tables if table.rows)
    if json is not None:
        write_json(json, found.content())


def _show_embedded(json: Path | None) -> None:
    from dataclasses import asdict

    from slonik.core.files import write_json
    from slonik.models.embedded import carried
    from slonik.reporting.table import Table

    found = carried()
    columns = ("model", "package", "installed", "opened by", "licence")
    rows = [(one.name + (" (the default)" if one.default else ""), one.package, one.version or "no: " + one.install,
             one.opened_by, one.licence) for one in found]  # fmt: skip
    print_tables([Table.of("embedded models", columns, rows)])
    if json is not None:
        write_json(json, [asdict(one) for one in found])


def _facts_rows(found: Description) -> list[tuple[str, str]]:
    facts, sentence = found.facts, found.sentence
    rows = [("origin", found.passport.origin), ("model", _join(facts.get("architecture"), facts.get("model_type")))]
    rows.append(("loader", found.loader))
    total = facts.get("parameters")
    if total:
        embeddings, encoder = facts.get("embedding_parameters") or 0, facts.get("encoder_parameters") or 0
        split = f" = embeddings {_millions(embeddings)} + encoder {_millions(encoder)}"
        heads = facts.get("head_parameters")
        rows.append(("parameters", _millions(total) + split + (f" + head {_millions(heads)}" if heads else "")))
    if facts.get("bytes"):
        rows.append(("weights", _join(_megabytes(facts["bytes"]), facts.get("dtype"), separator=", ")))
    if facts.get("layers"):
        rows.append(("layers", f"{facts['layers']} x {facts.get('hidden')}"))
        rows.append(("heads per layer", f"{_list(facts.get('heads'))} of {facts.get('head_size')}"))
        rows.append(("ffn per layer", _list(facts.get("ffn"))))
    rows.append(("vocabulary", f"{facts['vocab']:,}" if facts.get("vocab") else ""))
    if facts.get("flops_per_text"):
        rows.append(("FLOPs per text", f"{facts['flops_per_text'] / 1e9:.3f} G at {facts['text_tokens']} tokens"))
    if sentence:
        width = facts.get("dimension")
        size = "" if width in (None, facts.get("hidden")) else f", {width} dimensions"
        rows.append(("sentence vector", f"{sentence.in_words()}{size}, at most {sentence.max_length} tokens"))
        rows.append(("long texts", sentence.long_texts))
        prefixes = ", ".join(
            f"{name} {text!r}" + (" (default)" if name == sentence.default_prefix else "")
            for name, text in sentence.prefixes.items()
        )
        rows.append(("prefixes", prefixes))
    rows += [(name, _megabytes(size)) for name, size in found.files.items()]
    rows.append(("weights hash", str(facts.get("weights_hash") or "")))
    return [(label, text) for label, text in rows if text]


_WIDE = 58  # characters of a step's words
_FEW = 12  # records that are shown one by one


def _lineage_in_short(steps: Sequence[Step]) -> Table:
    """A line for each step: its time, its inputs, the first things that it set and found."""
    from slonik.reporting.formatting import duration
    from slonik.reporting.lineage import findings, settings
    from slonik.reporting.table import Table

    lines = []
    for step in steps:
        inputs = [f"{name} {digest[:12]}" for name, digest in step.inputs.items()]
        told = ", ".join(f"{name} {text}" for name, text in {**findings(step.summary), **settings(step)}.items())
        more = f", {len(inputs) - 1} more" if len(inputs) > 1 else ""
        lines.append(
            (
                step.command,
                None if step.seconds is None else duration(step.seconds),
                step.seed,
                inputs[0] + more if inputs else None,
                told if len(told) <= _WIDE else told[: _WIDE - 1] + "…",
            )
        )
    return Table.of("lineage, oldest first", ("step", "time", "seed", "inputs", "found and set"), lines)


def _records_in_short(records: Sequence[Record]) -> Table:
    """All records where they are few; else a line for each suite, variant and model, with its main figures."""
    from slonik.reporting.formatting import cell
    from slonik.reporting.scores import AVERAGES, is_difference
    from slonik.reporting.table import Table

    if len(records) <= _FEW:
        return _records_table(records)
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for one in records:
        if not is_difference(one) and one.value is not None:
            groups.setdefault((one.suite, one.variant, one.model), []).append(one)
    lines = []
    for (suite, variant, model), found in groups.items():
        main = [one for one in found if one.task in AVERAGES] or found
        told = "; ".join(f"{_figure_name(one)} {cell(one).plain()}" for one in main[:1])
        lines.append((", ".join(filter(None, (suite, variant))), model, told, len(found)))
    notes = [f"{len(records)} records: slonik show --all has each of them"]
    return Table.of("measured", ("suite", "model", "main figure [95 %]", "figures"), lines, notes)


def _figure_name(record: Record) -> str:
    return record.task if record.task == record.metric else f"{record.task} {record.metric}"


def _lineage_table(steps: Iterable[Step]) -> Table:
    from slonik.reporting.formatting import duration
    from slonik.reporting.table import Table

    lines = [
        (
            step.command,
            step.version,
            step.seed,
            None if step.seconds is None else duration(step.seconds),
            "\n".join(f"{name} {digest[:12]}" for name, digest in step.inputs.items()),
            _pairs(step.config),
            _pairs(step.summary | ({"launched": _launched(step.launch)} if step.launch else {})),
        )
        for step in steps
    ]
    columns = ("step", "version", "seed", "time", "inputs", "config", "found")
    return Table.of("lineage, oldest first", columns, lines)


def _launched(launch: Mapping[str, Any]) -> str:
    """How `slonik launch` started a run, in one line."""
    job = f" job {launch['job']}" if "job" in launch else ""
    restarts = f", put back {launch['restarts']} times" if launch.get("restarts", "0") != "0" else ""
    size = f"{launch.get('nodes', 1)} x {launch.get('processes', 1)} processes, {launch.get('gpus', 0)} GPUs each"
    return f"on {launch.get('on')}{job}, {size}{restarts}"


def _records_table(records: Sequence[Record]) -> Table:
    from slonik.reporting.formatting import cell
    from slonik.reporting.table import Table

    several = len({record.model for record in records}) > 1  # the model before, beside the one after
    lines = []
    for one in records:
        task = one.task if one.layer is None else f"{one.task} layer {one.layer}"
        seconds = None if one.seconds is None else f"{one.seconds:.1f}"
        names = (one.suite, task, one.variant, one.metric, *([one.model] if several else []))
        lines.append((*names, cell(one), one.n, seconds))
    columns = ("suite", "task", "variant", "metric", *(["model"] if several else []), "value [95 %]", "n", "seconds")
    return Table.of("measured", columns, lines)


def _pairs(content: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in content.items() if value is not None)


def _join(*parts: object, separator: str = " / ") -> str:
    return separator.join(str(part) for part in parts if part)


def _list(sizes: object) -> str:
    return " ".join(str(size) for size in sizes) if isinstance(sizes, list) else str(sizes)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
