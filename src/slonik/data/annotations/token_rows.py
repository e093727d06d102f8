"""The Hugging Face layout for token classification: rows with "tokens" and "ner_tags", as JSONL or Parquet.

Does: write strings as tags in JSONL, numbers with their names in Parquet (schema metadata that the `datasets` library
reads as a ClassLabel), the text and the offsets beside them so that nothing is lost; read both, and rows of others,
whose text is their tokens with a space between them. Numbers in JSONL get their names from labels.json or
dataset_info.json beside the file. Overlapping spans cannot be written: see `document.flatten`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.files import write_bytes
from slonik.data.annotations.document import Counts, Document, Policy
from slonik.data.annotations.tags import (
    OUTSIDE,
    Offsets,
    Scheme,
    count_loose,
    decode,
    offset_pairs,
    tag_set,
    tagged_tokens,
)
from slonik.text.lines import json_line, json_lines

#: Columns that may hold the tags, the first that is there is taken.
TAG_COLUMNS = ("ner_tags", "tags", "labels")
_BATCH_ROWS = 1024


def read_token_rows(path: str | Path, counts: Counts) -> Iterator[Document]:
    """Documents of a .jsonl or .parquet file, one per row, in order; `counts` grows by tags that begin loosely.

    Raises:
        SlonikError: a row without tokens or with another number of tags, numbers without names, a tag that is none.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        names = _parquet_names(path)
        rows = _parquet_rows(path)
    else:
        names = _names_beside(path)
        rows = _jsonl_rows(path)
    for where, row in rows:
        yield _document(row, where, f"{path.stem}-{where.rpartition(' ')[2]}", names, counts)


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, row in json_lines(path):
        if not isinstance(row, dict):
            raise SlonikError(f"{where}: a row is an object with tokens and ner_tags")
        yield where, row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    parquet = _parquet()
    try:
        with parquet.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise SlonikError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _parquet() -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("Parquet files", "parquet", "pyarrow") from error
    return parquet


def _parquet_names(path: Path) -> list[str] | None:
    """Names of the tags from the metadata of `datasets`."""
    try:
        metadata = _parquet().read_schema(path).metadata or {}
    except (OSError, ValueError) as error:
        raise SlonikError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]})") from None
    info = json.loads(metadata.get(b"huggingface", b"{}"))
    return _class_names(info.get("info", {}).get("features"))


def _class_names(features: Any) -> list[str] | None:
    for column in TAG_COLUMNS:
        feature = (features or {}).get(column) or {}
        inner = feature.get("feature", feature) if isinstance(feature, dict) else feature
        if isinstance(inner, list):
            inner = inner[0]
        names = inner.get("names") if isinstance(inner, dict) else None
        if isinstance(names, dict):  # the YAML form: {"class_label": {"names": {"0": "O"}}}
            names = [names[key] for key in sorted(names, key=int)]
        if names:
            return [str(name) for name in names]
    return None


def _names_beside(path: Path) -> list[str] | None:
    for name in ("labels.json", "dataset_info.json"):
        file = path.parent / name
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SlonikError(f"{file} is not JSON ({error})") from None
        names = content if isinstance(content, list) else _class_names(content.get("features"))
        if names:
            return [str(one) for one in names]
    return None


def _document(row: dict[str, Any], where: str, name: str, names: list[str] | None, counts: Counts) -> Document:
    tokens = row.get("tokens")
    tags = next((row[column] for column in TAG_COLUMNS if isinstance(row.get(column), list)), None)
    if not isinstance(tokens, list) or tags is None:
        raise SlonikError(f"{where}: no tokens or no ner_tags (fields: {', '.join(row)})")
    if len(tokens) != len(tags):
        raise SlonikError(f"{where}: {len(tokens)} tokens and {len(tags)} tags: there must be one tag per token")
    words = [_tag_name(tag, names, where) for tag in tags]
    for token, word in zip(tokens, words, strict=True):
        if not isinstance(token, str) or (not token and word != OUTSIDE):
            raise SlonikError(f"{where}: {token!r}, tagged {word}, is not a token: tokens are texts, and not empty")
    text, places = _text_of(tokens, row.get("text"), row.get("offsets"), where)
    try:
        spans = decode(words, places)
        count_loose(words, counts)
    except SlonikError as error:
        raise SlonikError(f"{where}: {error}") from None
    return Document(str(row.get("id", name)), text, tuple(spans), (), tuple(places))


def _text_of(tokens: list[str], text: Any, offsets: Any, where: str) -> tuple[str, list[Offsets]]:
    """The text and the place of each token in it; without both in the row, the tokens with a space between them."""
    if isinstance(text, str) and offsets is not None and all(tokens):
        places = offset_pairs(offsets, len(text))
        fitting = places is not None and [text[start:end] for start, end in places] == tokens
        if places is None or not fitting:
            raise SlonikError(f"{where}: tokens, offsets and text do not fit each other")
        return text, places
    ends = list(itertools.accumulate(len(token) + 1 for token in tokens))
    return " ".join(tokens), [(end - 1 - len(token), end - 1) for end, token in zip(ends, tokens, strict=True)]


def _tag_name(tag: Any, names: list[str] | None, where: str) -> str:
    if isinstance(tag, str):
        return tag
    if names is None:
        raise SlonikError(f"{where}: the tags are numbers without names: put labels.json, the list of names, beside it")
    if not isinstance(tag, int) or not 0 <= tag < len(names):
        raise SlonikError(f"{where}: there is no tag {tag!r}: the names are 0 to {len(names) - 1}")
    return names[tag]


def write_token_rows(
    documents: Iterable[Document],
    path: str | Path,
    counts: Counts,
    *,
    scheme: Scheme = "BIO",
    policy: Policy = "longest",
) -> int:
    """Write documents to a .jsonl or .parquet file, atomically; how many."""
    rows: list[dict[str, Any]] = []
    for document in documents:
        offsets, tags = tagged_tokens(document, scheme, policy, counts)
        rows.append(
            {
                "id": document.id,
                "tokens": [document.text[start:end] for start, end in offsets],
                "ner_tags": tags,
                "text": document.text,
                "offsets": [list(pair) for pair in offsets],
            }
        )
    path = Path(path)
    if path.suffix == ".parquet":
        write_bytes(path, _as_parquet(rows, scheme))
    else:
        lines = (json_line(row) + "\n" for row in rows)
        write_bytes(path, "".join(lines).encode("utf-8", "replace"))
    return len(rows)


def _as_parquet(rows: list[dict[str, Any]], scheme: Scheme) -> bytes:
    """The bytes of a Parquet file whose tags are numbers, with their names for the `datasets` library."""
    parquet = _parquet()
    import pyarrow as arrow

    labels = {tag[2:] for row in rows for tag in row["ner_tags"] if tag != "O"}
    names = tag_set(sorted(labels), scheme)
    numbers = {name: index for index, name in enumerate(names)}
    strings = {"dtype": "string", "_type": "Value"}
    integers = {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "Sequence"}
    features = {
        "id": strings,
        "tokens": {"feature": strings, "_type": "Sequence"},
        "ner_tags": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"},
        "text": strings,
        "offsets": {"feature": integers, "_type": "Sequence"},
    }
    schema = arrow.schema(
        [
            ("id", arrow.string()),
            ("tokens", arrow.list_(arrow.string())),
            ("ner_tags", arrow.list_(arrow.int64())),
            ("text", arrow.string()),
            ("offsets", arrow.list_(arrow.list_(arrow.int64()))),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    numbered = [{**row, "ner_tags": [numbers[tag] for tag in row["ner_tags"]]} for row in rows]
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist(numbered, schema=schema), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
