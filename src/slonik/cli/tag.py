"""`slonik tag MODEL`: texts in, spans with offsets and confidence out, any number in constant memory."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from slonik.tagging.stream import Item

_SHOWN = 20  # bad lines named one by one; the rest are counted


def register(app: typer.Typer) -> None:
    """Add `slonik tag`."""
    app.command("tag")(tag)


def tag(
    model: str = typer.Argument(help="Folder of a trained tagger, or hub id of a task model."),
    files: list[Path] | None = typer.Argument(
        None, help="Text files (a text a line), .jsonl (field text; .gz too), BRAT folders; stdin if none."
    ),
    out: Path | None = typer.Option(None, help="Output file (JSONL), or folder with --to brat; stdout if not given."),
    to: str = typer.Option("jsonl", help="jsonl (spans) or brat (.txt and .ann, needs --out)."),
    kind: str | None = typer.Option(None, "--from", help="text, jsonl or brat (default: by name, or first line)."),
    device: str | None = typer.Option(None, help="cpu, cuda, cuda:1 (default: a GPU if there is one)."),
    trust_remote_code: bool = typer.Option(False, help="Run Python code that comes with a checkpoint."),
) -> None:
    """Find entities in texts; one JSON object per text, in order: id, text, spans with start, end, label, confidence.

    Example: slonik tag my-tagger news.txt --out spans.jsonl
    """
    from slonik.core.errors import SlonikError
    from slonik.core.progress import progress_bar
    from slonik.tagging.models import load_tagger
    from slonik.tagging.stream import read_items, tag_items

    if to not in ("jsonl", "brat"):
        raise SlonikError(f"--to is {to!r}: use jsonl or brat")
    if to == "brat" and out is None:
        raise SlonikError("--to brat makes a folder: say which with --out DIR")
    inputs = list(files or [])
    missing = [path for path in inputs if str(path) != "-" and not path.exists()]
    if missing:
        raise SlonikError(f"there is no {missing[0]}: give text files, .jsonl or BRAT folders")
    tagger = load_tagger(model, device=device, trust_remote_code=trust_remote_code)
    report = _Report()
    sizes = [path.stat().st_size for path in inputs if path.is_file() and path.suffix != ".gz"]
    with progress_bar("tagging", total=sum(sizes) if inputs and len(sizes) == len(inputs) else None) as bar:
        items = tag_items(
            tagger,
            read_items(inputs, sys.stdin.buffer, kind),
            on_batch=lambda batch: bar.advance(sum(item.size for item in batch)),
        )
        if to == "brat":
            assert out is not None
            _write_brat(out, report.watch(items))
        else:
            _write_jsonl(out, report.watch(items))
    report.tell(out)


class _Report:
    """Counts texts and spans on their way, and names the first bad lines on stderr."""

    def __init__(self) -> None:
        self.texts = self.bad = self.empty = 0
        self.labels: Counter[str] = Counter()

    def watch(self, items: Iterator[Item]) -> Iterator[Item]:
        """Pass items on."""
        for item in items:
            self.texts += 1
            self.labels.update(span.label for span in item.document.spans)
            if item.error is not None:
                self.bad += 1
                if self.bad <= _SHOWN:
                    sys.stderr.write(f"{item.error}: kept as an empty text\n")
            elif not item.document.text.strip():
                self.empty += 1
            yield item

    def tell(self, out: Path | None) -> None:
        """One line at the end."""
        kinds = ", ".join(f"{label} {count:,}" for label, count in self.labels.most_common())
        text = f"{self.texts:,} texts, {self.labels.total():,} spans" + (f" ({kinds})" if kinds else "")
        text += f"; {self.empty:,} empty" if self.empty else ""
        text += f"; {self.bad:,} bad lines kept as empty texts" if self.bad else ""
        sys.stderr.write(text + (f" -> {out}\n" if out else "\n"))


def _write_jsonl(out: Path | None, items: Iterator[Item]) -> None:
    from slonik.data.annotations.formats import as_row
    from slonik.text.lines import json_line

    with _target(out) as stream:
        for item in items:
            extra = dict(item.extra) | ({"error": item.error} if item.error else {})
            stream.write(json_line(as_row(item.document, extra)) + "\n")


@contextmanager
def _target(out: Path | None) -> Iterator[IO[str]]:
    from slonik.core.files import new_file

    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with new_file(out) as path, open(path, "w", encoding="utf-8") as stream:
        yield stream


def _write_brat(out: Path, items: Iterator[Item]) -> None:
    from slonik.core.files import new_folder
    from slonik.data.annotations.brat import write_brat
    from slonik.data.annotations.document import Counts

    counts: Counts = Counter()
    with new_folder(out) as folder:
        write_brat((item.document for item in items), folder, counts)
    for words, count in counts.items():
        sys.stderr.write(f"  {count:,} {words}\n")
