"""What a static compression leaves for people: tables, an HTML page, a model card, the command that does it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from slonik.compression.static.config import StaticRecipe
from slonik.core.files import write_text
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.models.describe import describe_folder
from slonik.reporting import page
from slonik.reporting.formatting import count, size
from slonik.reporting.model_card import lineage_table, model_card
from slonik.reporting.resources import resources_tables
from slonik.reporting.scores import difference_tables, score_tables
from slonik.reporting.table import Table

REPORT_NAME = "report.html"
LIMITS = (
    "The order of words is lost: texts of the same words have the same vector, and a negation counts as one word more.",
    "Words that the vocabulary lacks are read by their parts, which say less.",
)


def static_tables(records: Sequence[Record]) -> list[Table]:
    """Speed and size, then scores of every row and their differences."""
    scores = [record for record in records if record.task != "speed"]
    tables = [*resources_tables(records), *score_tables(scores), *difference_tables(scores)]
    return [table for table in tables if table.rows]


def write_static_report(
    config: StaticRecipe,
    records: Sequence[Record],
    evaluated: bool,
    passport: Passport,
    folder: Path,
    command: str,
) -> Path:
    """Write `report.html` and the model card (README.md) into `folder`, which holds the model.

    Args:
        evaluated: whether a benchmark was measured. command: the line that makes the model again.
    """
    facts = describe_folder(folder).facts
    tables = static_tables(records)
    use = usage(config.out)
    tiles = [
        page.Tile("tokens", count(facts["pieces"])),
        page.Tile("dimensions", str(facts["dimension"])),
        page.Tile("table", size(facts["bytes"])),
    ]
    note = "encodechka was not measured: give its data with --data-dir (slonik fetch encodechka)."
    blocks = [
        page.tiles(tiles),
        *(page.section(table.title, page.table(table)) for table in tables),
        page.section("How to use it", page.code(use)),
        page.section("Do it again", page.code(command)),
        page.section("Lineage", page.table(lineage_table(passport.lineage))),
    ]
    made = " and ".join((config.model, *config.teachers))
    html = page.page(
        f"{passport.name}, a table made from {made}", eyebrow="slonik compression report",
        lead=[] if evaluated else [note], blocks=blocks,
    )  # fmt: skip
    write_text(folder / REPORT_NAME, html)
    model_card(passport, facts, None, loader="slonik.load (no torch), or sentence-transformers", commands=[command],
               limits=LIMITS, folder=folder)  # fmt: skip
    return folder / REPORT_NAME


def usage(out: str) -> str:
    """Lines of shell and Python that use the model."""
    return (
        f"slonik show {shlex.quote(out)}\n"
        f'python -c "import slonik; print(slonik.load({out!r}).encode([{"слонёнок"!r}]).shape)"'
    )


def command_line(config: StaticRecipe) -> str:
    """The command that makes the same model; fields without an option of their own go into --set."""
    words = ["slonik", "compress", config.model, "--static"]
    for option, names in (
        ("--teacher", config.teachers), ("--corpus", config.corpus.texts), ("--pairs", config.corpus.pairs)
    ):  # fmt: skip
        for name in names:
            words += [option, name]
    words += ["--out", config.out]
    changed = config.model_dump(mode="json", exclude_defaults=True)
    for section in ("corpus", "further", "vocabulary", "blend", "table"):
        for name, value in (changed.get(section) or {}).items():
            if name not in ("texts", "pairs") or section != "corpus":
                words += ["--set", f"{section}.{name}={_yaml(value)}"]
    for option, value in (
        ("--dimensions", changed.get("dimensions")), ("--pooling", config.pooling), ("--data-dir", config.data_dir),
        ("--seed", config.seed or None),
    ):  # fmt: skip
        words += [option, str(value)] if value is not None else []
    return shlex.join(words)


def _yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
