"""The corpus half of `slonik data convert`: texts to memory-mapped shards of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer


def convert_corpus(sources: Sequence[str], out: Path, options: Mapping[str, Any], json_file: Path | None) -> None:
    """Tokenise a corpus into `out` and show what was read, dropped and kept.

    Args:
        options: fields of `CorpusSettings` (None values are left out) and `tokenizer`.

    Raises:
        SlonikError: no tokenizer was named; what `prepare_corpus` raises.
    """
    from slonik.core.config import read_config
    from slonik.core.errors import SlonikError
    from slonik.core.files import write_json
    from slonik.models.kinds import resolve
    from slonik.pretraining.corpus import CorpusSettings, prepare_corpus
    from slonik.text.tokenizing import load_tokenizer

    fields = dict(options)
    tokenizer = fields.pop("tokenizer", None)
    if tokenizer is None:
        raise SlonikError("shards are made of tokens: name the tokenizer or checkpoint by --tokenizer")
    border = fields.get("border")
    if isinstance(border, str) and border.isdecimal():
        fields["border"] = int(border)
    settings = read_config(CorpusSettings, None, {"files": list(sources), **fields})
    found = prepare_corpus(settings, load_tokenizer(resolve(tokenizer)), out)
    for name, count in found.summary.items():
        typer.echo(f"{name.replace('_', ' '):>24} {count:,}")
    typer.echo(f"{len(found.train):,} documents, {found.train.token_count:,} tokens -> {out}")
    if json_file is not None:
        figures = {"documents": len(found.train), "tokens": found.train.token_count}
        write_json(json_file, figures | {"summary": found.summary, "key": found.train.key})
