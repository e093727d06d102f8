"""The model card: README.md of a checkpoint folder, from its passport, its shape and its sentence settings.

Says what the model is, how to use it, what was measured (with intervals), where it came from, under which licences,
and which command makes it again. What is not known is not claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slonik.core.files import write_text
from slonik.core.passport import Passport, Step
from slonik.reporting.client_snippets import Snippet
from slonik.reporting.formatting import count, duration, size
from slonik.reporting.resources import resources_tables
from slonik.reporting.scores import difference_tables, score_tables
from slonik.reporting.table import Table, escape_markdown, to_markdown
from slonik.reporting.task_card import kind_in_words, lines_of, pipeline_of, usage_of
from slonik.text.sentence_config import SentenceConfig
from slonik.text.task_config import TaskConfig

FILE_NAME = "README.md"


def model_card(
    passport: Passport,
    facts: Mapping[str, Any],
    sentence: SentenceConfig | None,
    *,
    loader: str = "slonik.load",
    commands: Sequence[str] = (),
    limits: Sequence[str] = (),
    path: str = "",
    clients: Sequence[Snippet] = (),
    folder: str | Path | None = None,
    task: TaskConfig | None = None,
) -> str:
    """The card as Markdown; written to README.md in `folder` too where one is given.

    Args:
        facts: what `describe` says: parameters, embedding_parameters, encoder_parameters, bytes, layers, hidden, ...
        sentence: how a text becomes a vector; None for a table of token vectors.
        loader: which library call opens the checkpoint.
        commands: lines that make the model again.
        limits: known failures and limits, a sentence each.
        path: what a reader types to open it; "" = the passport's name.
        clients: how other programs read it.
        task: of a model with a head; None = a sentence encoder.

    Raises:
        SlonikError: the folder cannot be written.
    """
    licence = next((s.license for s in reversed(passport.lineage) if s.license), None)
    parts = [
        _front_matter(passport, licence, task),
        f"# {escape_markdown(passport.name)}\n",
        _about(passport, licence, "sentence encoder" if task is None else kind_in_words(task)),
        to_markdown(_shape(facts, sentence, loader, task), heading="##"),
        _usage(path or Path(passport.name).name, sentence, loader, task),
        _other_clients(clients),
        _measured(passport),
        to_markdown(lineage_table(passport.lineage), heading="##") if passport.lineage else "",
        _block("Do it again", "\n".join(commands), "sh") if commands else "",
        "## Limits\n\n" + "".join(f"- {escape_markdown(limit)}\n" for limit in limits) if limits else "",
    ]
    text = "\n".join(part for part in parts if part)
    if folder is not None:
        write_text(Path(folder) / FILE_NAME, text)
    return text


def _front_matter(passport: Passport, licence: str | None, task: TaskConfig | None) -> str:
    content: dict[str, Any] = {
        "language": ["ru"],
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["slonik", "sentence-similarity", "feature-extraction"],
    }
    if task is not None:
        content |= {"library_name": "transformers", "pipeline_tag": pipeline_of(task)}
        content["tags"] = ["slonik", pipeline_of(task)]
    if licence:
        content["license"] = licence.lower()
    if passport.origin and passport.origin != passport.name and not passport.origin.startswith(("embedded:", "/", ".")):
        content["base_model"] = passport.origin
    return f"---\n{yaml.safe_dump(content, allow_unicode=True, sort_keys=False)}---\n"


def _about(passport: Passport, licence: str | None, what: str) -> str:
    # A path of the machine that made it says nothing to a reader; the folder's name does.
    parent = Path(passport.origin).name if passport.origin.startswith(("/", ".")) else passport.origin
    origin = f", made from {escape_markdown(parent)}" if parent and parent != passport.name else ""
    licences = sorted({step.license for step in passport.lineage if step.license})
    known = f" Licences that its lineage names: {escape_markdown(', '.join(licences))}." if licences else ""
    unknown = "" if licence else " No licence is recorded for the weights: find out before you share it."
    return f"A Russian {what}{origin}, by slonik.{known}{unknown}\n"


def _shape(facts: Mapping[str, Any], sentence: SentenceConfig | None, loader: str, task: TaskConfig | None) -> Table:
    lines: list[tuple[str, str]] = []
    for key, name, write in (
        ("parameters", "parameters", count),
        ("embedding_parameters", "in embeddings", count),
        ("encoder_parameters", "in the encoder", count),
        ("bytes", "bytes of weights", size),
        ("flops_per_text", f"FLOPs on a text of {facts.get('text_tokens', '?')} tokens", count),
        ("layers", "layers", str),
        ("hidden", "hidden size", str),
        ("heads", "heads", str),
        ("ffn", "feed-forward size", str),
        ("vocab", "tokens in the vocabulary", "{:,}".format),
        ("pieces", "tokens in the vocabulary", "{:,}".format),
        ("precision", "precision of the table", str),
        ("dimension", "dimensions of a vector", str),
        ("matryoshka_dimensions", "leading dimensions that were measured alone", _numbers),
    ):
        if facts.get(key) is not None and (task is None or key != "dimension"):
            lines.append((name, write(facts[key])))  # type: ignore[operator]
    if task is not None:
        longer = "are read in windows" if task.target in ("tags", "answer") else LONG_TEXTS[task.long_texts]
        lines += lines_of(task)
        lines += [("tokens per text, at most", str(task.max_length)), ("longer texts", longer), ("loads with", loader)]
        return Table.of("What it is", ("", ""), lines)
    if sentence is None:
        how = "mean of the tokens' vectors" + (", normalised" if facts.get("normalize") else "")
        how += f", times {facts['scale']:g}" if "scale" in facts else ""
        lines += [("vector of a text", how), ("tokens per text", "any number"), ("loads with", loader)]
        return Table.of("What it is", ("", ""), lines)
    prefixes = ", ".join(f"{name}: {text!r}" for name, text in sentence.prefixes.items()) or "none"
    default = f", used by default: {sentence.default_prefix}" if sentence.default_prefix else ""
    lines += [
        ("pooling", sentence.in_words()),
        ("tokens per text, at most", str(sentence.max_length)),
        ("longer texts", LONG_TEXTS[sentence.long_texts]),
        ("prefixes", prefixes + default),
        ("loads with", loader),
    ]
    return Table.of("What it is", ("", ""), lines)


LONG_TEXTS = {
    "truncate": "their beginning is read",
    "average": "the mean of their windows, by tokens",
    "refuse": "are refused",
}


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def _usage(path: str, sentence: SentenceConfig | None, loader: str, task: TaskConfig | None) -> str:
    if task is not None:
        return _block("How to use it", usage_of(path, task, exported="onnx" in loader), "python")
    program = (
        "import slonik\n\n"
        f"encoder = slonik.load({path!r})\n"
        'vectors = encoder.encode(["Привет, мир!", "Как дела?"])   # (2, D) float32'
    )
    if "stock" in loader or sentence is None:
        program += (
            "\n\n# or with sentence-transformers alone\n"
            "from sentence_transformers import SentenceTransformer\n\n"
            f"model = SentenceTransformer({path!r})\n"
            'vectors = model.encode(["Привет, мир!", "Как дела?"])'
        )
    if sentence is not None and sentence.default_prefix:
        program += f'\n\n# the prefix {sentence.prefix(None)!r} is added by default; prefix="" leaves it out'
    return _block("How to use it", program, "python")


def _other_clients(clients: Sequence[Snippet]) -> str:
    parts = [
        _block(f"With {one.client}", one.program, one.language)
        + "".join(f"\n{escape_markdown(remark)}\n" for remark in one.remarks)
        for one in clients
    ]
    return "\n".join(parts)


def _measured(passport: Passport) -> str:
    records = passport.records
    tables = [*score_tables(records), *difference_tables(records), *resources_tables(records)]
    tables = [table for table in tables if table.rows]
    if not tables:
        return "## What was measured\n\nNothing yet: `slonik evaluate` and `slonik bench` fill this part.\n"
    return "## What was measured\n\n" + "\n".join(to_markdown(table) for table in tables)


def _block(title: str, text: str, language: str) -> str:
    fence = "`" * max(3, max((len(run) + 1 for run in re.findall("`+", text)), default=0))
    return f"## {title}\n\n{fence}{language}\n{text}\n{fence}\n"


def lineage_table(steps: Iterable[Step]) -> Table:
    """What was run, oldest first, with which seed and inputs; hashes are cut to twelve digits."""
    lines = [
        (
            step.command,
            ", ".join(f"{name} {value[:12]}" for name, value in step.inputs.items()) or "–",
            step.seed,
            None if step.seconds is None else duration(step.seconds),
            step.license or "–",
            step.version,
        )
        for step in steps
    ]
    return Table.of("Lineage", ("step", "inputs", "seed", "time", "licence", "slonik"), lines)
