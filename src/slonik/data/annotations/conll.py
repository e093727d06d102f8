"""CoNLL columns: a token a line, its tag in the last column, blank lines between sentences.

Does: write BIO or BIOES with the text itself in a comment, so that reading gives the same characters and offsets;
read that, and any CoNLL file of others (2003, with or without -DOCSTART-, two columns or more, tabs or spaces), whose
text is then its tokens with a space between them. Overlapping spans cannot be written: one stays by the policy, the
rest are counted. Columns between token and tag are not kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slonik.core.errors import SlonikError
from slonik.core.files import write_bytes
from slonik.data.annotations.document import Counts, Document, Policy
from slonik.data.annotations.tags import Scheme, count_loose, decode, split_tag, tagged_tokens
from slonik.text.lines import json_line, numbered_lines

_COMMENT = re.compile(r"# (?:newdoc )?(id|text|sent_id) = (.*)")
_COLUMNS = re.compile(r"[ \t]+")
_DOCUMENT_MARK = "-DOCSTART-"


@dataclass
class _Block:
    """What is known of a document while its lines are read."""

    name: str = ""
    text: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)  # index of the first token of each


def read_conll(path: str | Path, counts: Counts) -> Iterator[Document]:
    """Documents of a file, in order. Without document marks each sentence is a document, which is counted.

    Raises:
        SlonikError: a line without a tag, a tag that is none, tokens that do not follow each other in the text given
            for them (file and line are named).
    """
    path = Path(path)
    marked = _has_marks(path)
    block, number_of = _Block(), 0
    for number, line in numbered_lines(path):
        comment = _COMMENT.fullmatch(line)
        blank = not line.strip(" \t\r\n")
        starts = line.startswith(_DOCUMENT_MARK) or bool(comment and comment[1] == "id")
        if starts or (blank and not marked):
            if block.tokens or block.text is not None:
                number_of += 1
                yield _finish(block, path, number_of, counts)
            block = _Block(name=comment[2] if comment else "")
        elif comment:
            block.text = _text(comment[2], path, number) if comment[1] == "text" else block.text
        elif blank:
            block.sentences.append(len(block.tokens))
        else:
            _add(block, line, path, number)
    if block.tokens or block.text is not None:
        number_of += 1
        yield _finish(block, path, number_of, counts)
    if number_of == 0:
        raise SlonikError(f"{path} holds no token: a CoNLL file has a token and its tag on each line")
    if not marked:
        counts["sentences of files without document marks, each taken as a document"] += number_of


def _has_marks(path: Path) -> bool:
    for _, line in numbered_lines(path):
        comment = _COMMENT.fullmatch(line)
        if line.startswith(_DOCUMENT_MARK) or (comment and comment[1] == "id"):
            return True
    return False


def _text(value: str, path: Path, number: int) -> str:
    """The text of a comment: a JSON string from us, the bare words from others."""
    if not value.startswith('"'):
        return value
    try:
        text = json.loads(value)
    except ValueError:
        return value
    if not isinstance(text, str):
        raise SlonikError(f"{path}, line {number}: the text is not a string")
    return text


def _add(block: _Block, line: str, path: Path, number: int) -> None:
    columns = line.rstrip("\r").split("\t") if "\t" in line else _COLUMNS.split(line.strip(" \r"))
    columns = [column for column in columns if column]
    if len(columns) < 2 and not line.startswith("# "):
        raise SlonikError(f"{path}, line {number}: {line[:60]!r} has one column; a token and its tag are needed")
    try:
        split_tag(columns[-1])
    except SlonikError as error:
        if line.startswith("# "):  # a comment of others ("# id 12 domain=news"): a token "#" has a tag
            return
        raise SlonikError(f"{path}, line {number}: {error}") from None
    block.tokens.append(columns[0])
    block.tags.append(columns[-1])
    block.lines.append(number)


def _finish(block: _Block, path: Path, number: int, counts: Counts) -> Document:
    """The document of a block; its text is made of the tokens where none was given."""
    if block.text is None:
        starts = set(block.sentences)
        pieces = []
        for index, token in enumerate(block.tokens):
            pieces.append(("" if index == 0 else "\n" if index in starts else " ") + token)
        block.text = "".join(pieces)
    offsets: list[tuple[int, int]] = []
    place = 0
    for token, line in zip(block.tokens, block.lines, strict=True):
        start = _after_space(block.text, place)
        if not block.text.startswith(token, start):
            raise SlonikError(f"{path}, line {line}: the token {token[:60]!r} is not what comes next in its text")
        offsets.append((start, start + len(token)))
        place = start + len(token)
    spans = decode(block.tags, offsets)
    count_loose(block.tags, counts)
    return Document(block.name or f"{path.stem}-{number}", block.text, tuple(spans), (), tuple(offsets))


def _after_space(text: str, place: int) -> int:
    """The first place that is neither white space nor invisible."""
    while place < len(text) and (text[place].isspace() or text[place] in "\ufeff\u200b"):
        place += 1
    return place


def write_conll(
    documents: Iterable[Document],
    path: str | Path,
    counts: Counts,
    *,
    scheme: Scheme = "BIO",
    policy: Policy = "longest",
) -> int:
    """Write documents to a file, atomically; how many. A blank line goes where a line ends in the text."""
    parts: list[str] = []
    for number, document in enumerate(documents, start=1):
        name = " ".join(document.id.split()) or str(number)
        parts.append(f"# id = {name}\n# text = {json_line(document.text)}\n")
        offsets, tags = tagged_tokens(document, scheme, policy, counts)
        before = 0
        for (start, end), tag in zip(offsets, tags, strict=True):
            if before and "\n" in document.text[before:start] and tag[0] in "OBS":
                parts.append("\n")
            parts.append(f"{document.text[start:end]}\t{tag}\n")
            before = end
        parts.append("\n")
    write_bytes(path, "".join(parts).encode("utf-8", "replace"))
    return sum(1 for part in parts if part.startswith("# id = "))
