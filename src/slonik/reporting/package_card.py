"""The card of a distribution: README.md of a package that ships a model, for somebody who has not heard of slonik.

Written from the passport's records and lineage alone: how it is installed and used, what it is, what its cosines mean,
what it is bad at, everything that was measured, where it is from and under which licences. What was not measured is
said to be missing, with the command that measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slonik.core.files import write_text
from slonik.core.passport import Passport
from slonik.core.records import Record
from slonik.reporting.character import SUITE, character_tables, weaknesses
from slonik.reporting.formatting import count, size
from slonik.reporting.model_card import LONG_TEXTS, lineage_table
from slonik.reporting.resources import resources_tables
from slonik.reporting.scores import difference_tables, score_tables
from slonik.reporting.table import Table, escape_markdown, to_markdown
from slonik.text.sentence_config import SentenceConfig

FILE_NAME = "README.md"
_INSTALL = """\
```console
pip install slonik {name}          # in a checkout of slonik: pip install . ./models/{name}
```
"""
_USE = """\
```python
import slonik

encoder = slonik.load({default})
vectors = encoder.encode(["Слон идёт домой.", "The elephant walks home."])   # (2, {dimension}) float32
```

```console
slonik encode {argument}--out vectors.npy < texts.txt
slonik serve {argument}                       # the OpenAI API's routes
```
"""
_TORCH = """\
It runs on onnxruntime, without torch. With torch installed, `slonik.load("embedded:{name}", backend="torch")` makes an
ordinary checkpoint of the same numbers in the cache, and so do `slonik compress`, `finetune`, `distill` and `export`.
"""


def package_card(
    name: str,
    version: str,
    passport: Passport,
    facts: Mapping[str, Any],
    sentence: SentenceConfig | None,
    *,
    licence: str,
    origins: Sequence[Mapping[str, str]],
    ships: bool = False,
    about: str = "",
    folder: str | Path | None = None,
) -> str:
    """The card as Markdown; written to README.md in `folder` too where one is given.

    Args:
        facts: parameters, bytes, layers, dimension, ... as far as they are known.
        sentence: how a text becomes a vector; None for a table of token vectors.
        licence: SPDX expression of the whole.
        origins: models that it was made from: name, licence, holder.
        ships: slonik takes it where no model is named.
        about: Markdown of the maker: how it was made, from which data, under which licences, and how to do it again.

    Raises:
        SlonikError: the folder cannot be written.
    """
    kind = "static sentence encoder (a table of token vectors)" if sentence is None else "sentence encoder"
    argument = "" if ships else f"embedded:{name} "
    use = {"name": name, "dimension": facts.get("dimension", "D"), "argument": argument}
    records = passport.records
    parts = [
        _front_matter(licence, origins),
        f"# {escape_markdown(name)} {version}\n",
        f"A small Russian {kind}, made by slonik from {_names(origins)}. {_size(facts)}\n",
        _INSTALL.format(**use),
        _USE.format(**use, default="" if ships else f'"embedded:{name}"'),
        _TORCH.format(**use) if sentence is not None else "",
        to_markdown(_shape(facts, sentence), heading="##"),
        _cosines(name, records),
        _bad_at(name, records),
        _measured(name, records),
        _how(about.strip()) + _made(passport),
        _licences(licence, origins),
    ]
    text = "\n".join(part for part in parts if part)
    if folder is not None:
        write_text(Path(folder) / FILE_NAME, text)
    return text


def _front_matter(licence: str, origins: Sequence[Mapping[str, str]]) -> str:
    content = {
        "language": ["ru", "en"],
        "library_name": "slonik",
        "pipeline_tag": "sentence-similarity",
        "tags": ["slonik", "sentence-similarity", "feature-extraction", "onnx"],
        "license": licence.lower() if " " not in licence else "other",
        "base_model": [one["name"] for one in origins if "/" in one["name"]],
    }
    return f"---\n{yaml.safe_dump(content, allow_unicode=True, sort_keys=False)}---\n"


def _names(origins: Sequence[Mapping[str, str]]) -> str:
    return " and ".join(escape_markdown(one["name"]) for one in origins) or "models that its lineage does not name"


def _size(facts: Mapping[str, Any]) -> str:
    parts = [f"{count(facts['parameters'])} parameters"] if facts.get("parameters") else []
    parts += [f"{size(facts['bytes'])} of weights in int8"] if facts.get("bytes") else []
    return (", ".join(parts) + ".") if parts else ""


def _shape(facts: Mapping[str, Any], sentence: SentenceConfig | None) -> Table:
    written = (
        ("parameters", "parameters", count),
        ("embedding_parameters", "in the table of tokens", count),
        ("bytes", "bytes of weights", size),
        ("layers", "layers", str),
        ("hidden", "hidden size", str),
        ("vocab", "tokens in the vocabulary", "{:,}".format),
        ("pieces", "tokens in the vocabulary", "{:,}".format),
        ("dimension", "dimensions of a vector", str),
        ("flops_per_text", f"FLOPs on a text of {facts.get('text_tokens', '?')} tokens", count),
    )
    lines: dict[str, str] = {}
    for key, label, write in written:
        if facts.get(key) is not None:
            lines.setdefault(label, write(facts[key]))  # type: ignore[operator]
    if sentence is not None:
        lines |= {
            "sentence vector": sentence.in_words(),
            "tokens per text, at most": str(sentence.max_length),
            "longer texts": LONG_TEXTS[sentence.long_texts],
            "prefix": repr(sentence.prefix(None)) if sentence.prefix(None) else "none is needed",
        }
    return Table.of("What it is", ("", ""), list(lines.items()))


def _cosines(name: str, records: Sequence[Record]) -> str:
    tables = character_tables(records, "cosines")
    if not tables:
        return _missing("What its cosines mean", name, "character")
    said = "The same question asked of every model; between the two rows of a model lies what it can tell apart.\n\n"
    return "## What its cosines mean\n\n" + said + "\n".join(to_markdown(table) for table in tables)


def _bad_at(name: str, records: Sequence[Record]) -> str:
    tables = character_tables(records, "weak")
    if not tables:
        return _missing("What it is bad at", name, "character")
    said = "".join(f"- {escape_markdown(line)}\n" for line in weaknesses(records, f"embedded:{name}"))
    return "## What it is bad at\n\n" + said + "\n" + "\n".join(to_markdown(table) for table in tables)


def _measured(name: str, records: Sequence[Record]) -> str:
    rest = [record for record in records if record.suite != SUITE]
    tables = [*score_tables(rest), *difference_tables(rest), *resources_tables(rest)]
    tables = [table for table in tables if table.rows]
    if not tables:
        return _missing("What was measured", name, "encodechka,speed", " --data-dir DATA")
    return "## What was measured\n\n" + "\n".join(to_markdown(table) for table in tables)


def _missing(title: str, name: str, what: str, more: str = "") -> str:
    return f"## {title}\n\nNot measured yet: `slonik card models/{name} --measure {what}{more}`.\n"


def _how(about: str) -> str:
    """What the maker says, under a heading of ours unless it brings its own."""
    heading = "" if about.startswith("#") else "## How it was made\n\n"
    return heading + (f"{about}\n\n" if about else "")


def _made(passport: Passport) -> str:
    return to_markdown(lineage_table(passport.lineage)) if passport.lineage else "Its lineage is not known.\n"


def _licences(licence: str, origins: Sequence[Mapping[str, str]]) -> str:
    rows = [(one["name"], one["licence"], one["holder"]) for one in origins]
    table = to_markdown(Table.of("Made from", ("model", "licence", "copyright"), rows))
    return (
        f"## Licences\n\n{licence}: what the models say that it was made from; the texts are in `licences/`.\n\n{table}"
    )
