"""`slonik show CHECKPOINT`: its passport, shape, size, measurements, and the loader it needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def register(app: typer.Typer) -> None:
    """Add the `show` command."""
    app.command("show")(show)


def show(
    checkpoint: str = typer.Argument(help="Folder, hub id, embedded:NAME, or the name of a baseline."),
    json: Path | None = typer.Option(None, help="Write everything that is shown to this file as one JSON object."),
) -> None:
    """Passport of a checkpoint: lineage, shape, size, everything measured, which loader it needs."""
    from rich.console import Console

    from slonik.core.files import write_json

    content = _content(checkpoint)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(_facts_table(checkpoint, content))
    passport = content["passport"]
    if passport["lineage"]:
        console.print(_lineage_table(passport))
    if passport["records"]:
        console.print(_records_table(passport["records"]))
    if json is not None:
        write_json(json, {"model": checkpoint, **content})


def _content(checkpoint: str) -> dict[str, Any]:
    from slonik.models import folder_facts, kinds

    if kinds.is_checkpoint(checkpoint):
        return folder_facts.folder_facts(kinds.resolve(checkpoint))
    from slonik.models import load_any

    passport = {"name": checkpoint, "origin": "", "lineage": [], "records": []}
    facts = load_any(checkpoint).describe()
    return {"loader": "slonik.load", "facts": facts, "sentence": None, "files": {}, "passport": passport}


def _facts_table(checkpoint: str, content: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(checkpoint), title_justify="left", show_header=False, min_width=60)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _facts_rows(content):
        table.add_row(label, escape(text))
    return table


def _facts_rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    facts, sentence, passport = content["facts"], content["sentence"], content["passport"]
    rows = [("origin", passport["origin"]), ("model", _join(facts.get("architecture"), facts.get("model_type")))]
    rows.append(("loader", content["loader"]))
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
        norm = "normalised" if sentence["normalize"] else "not normalised"
        rows.append(("sentence vector", f"{sentence['pooling']}, {norm}, at most {sentence['max_length']} tokens"))
        prefixes = ", ".join(
            f"{name} {text!r}" + (" (default)" if name == sentence["default_prefix"] else "")
            for name, text in sentence["prefixes"].items()
        )
        rows.append(("prefixes", prefixes))
    rows += [(name, _megabytes(size)) for name, size in content["files"].items()]
    rows.append(("weights hash", str(facts.get("weights_hash") or "")))
    return [(label, text) for label, text in rows if text]


def _lineage_table(passport: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="lineage, oldest first", title_justify="left")
    for column in ("step", "version", "seed", "seconds", "inputs", "config", "found"):
        table.add_column(column, overflow="fold")
    for step in passport["lineage"]:
        inputs = "\n".join(f"{name} {digest[:12]}" for name, digest in step["inputs"].items())
        seconds = "" if step["seconds"] is None else f"{step['seconds']:.1f}"
        seed = "" if step["seed"] is None else str(step["seed"])
        cells = (
            step["command"],
            step["version"],
            seed,
            seconds,
            inputs,
            _pairs(step["config"]),
            _pairs(step["summary"]),
        )
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _records_table(records: list[dict[str, Any]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="measured", title_justify="left")
    several = len({record["model"] for record in records}) > 1  # the model before, beside the one after
    for column in ("suite", "task", "variant", "metric", *(["model"] if several else [])):
        table.add_column(column)
    for column in ("value", "95 %", "n", "seconds"):
        table.add_column(column, justify="right")
    for record in records:
        low, high = record["low"], record["high"]
        interval = "" if low is None or high is None else f"{low:.4f} .. {high:.4f}"
        value = "" if record["value"] is None else f"{record['value']:.4f}"
        layer = "" if record["layer"] is None else f" layer {record['layer']}"
        names = [record["suite"], record["task"] + layer, record["variant"], record["metric"]]
        names += [record["model"]] if several else []
        figures = (
            value,
            interval,
            str(record["n"] or ""),
            "" if record["seconds"] is None else f"{record['seconds']:.1f}",
        )
        table.add_row(*(escape(name) for name in names), *figures)
    return table


def _pairs(content: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in content.items() if value is not None)


def _join(*parts: object, separator: str = " / ") -> str:
    return separator.join(str(part) for part in parts if part)


def _list(sizes: object) -> str:
    return " ".join(str(size) for size in sizes) if isinstance(sizes, list) else str(sizes)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
