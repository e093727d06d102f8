"""Corpora to training tokens: read, clean, check the language, leave out duplicates, set a part aside, tokenise once.

One pass in constant memory; a killed conversion goes on after its last whole shard (texts before it are read and
filtered again, since duplicates depend on them, but not tokenised). Which document is held out depends on its content
alone, so every corpus, format and tokenizer agrees about it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from tokenizers import Tokenizer

from slonik.core import files
from slonik.core.config import Config
from slonik.core.errors import SlonikError, unknown_name
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.identity import HUB, Identity, code_identity, corpus_identity, folder_identity
from slonik.core.progress import progress_bar
from slonik.data.deduplication import ExactFilter, NearFilter
from slonik.data.documents import CorpusDocument, read_documents
from slonik.data.filters import CleaningConfig, DocumentCleaner, guard_language
from slonik.data.readers import FORMATS, check_files
from slonik.data.sampling import Sample, is_held_out, sample
from slonik.pretraining.shards import (
    DEFAULT_SHARD_TOKENS,
    MANIFEST,
    ShardWriter,
    TokenCorpus,
    open_shards,
    shard_facts,
)
from slonik.pretraining.tokens import sentence_ids
from slonik.text.tokenizers.token_facts import token_facts
from slonik.text.tokenizers.vocabulary import read_vocabulary
from slonik.text.tokenizing import encode

LEAST_HELD_OUT = 2
_BATCH_DOCUMENTS = 512
_BATCH_CHARACTERS = 4_000_000
_CHECKED_DOCUMENTS = 1_000_000
_JUDGED_DOCUMENTS, _JUDGED_CHARACTERS = 300, 1_000
_MOST_UNKNOWN, _MOST_BYTES = 1 / 3, 0.9
_HELD_OUT = "held_out.jsonl"
_OWN = ("shard", _HELD_OUT, "lock", ".slonik-tmp-")
"""How the names of files begin that a conversion writes."""


class CorpusSettings(Config):
    """Which texts, and what is done to them."""

    files: tuple[str, ...] = Field((), description="files, folders, hub:OWNER/NAME")
    column: str | None = None
    border: int | str = "line"
    """What ends a document of a plain text file: `line`, `blank`, or a number of lines."""
    cleaning: CleaningConfig = CleaningConfig()
    language: str = "ru"
    """Guards against a corpus in another script; `any` = no check."""
    drop_other_languages: bool = False
    """Check every document with py3langid."""
    duplicates: Literal["keep", "exact", "near"] = "exact"
    near_threshold: float = Field(0.8, gt=0, lt=1)
    held_out_share: float = Field(0.02, ge=0, lt=1)
    """Share of documents that are never trained on."""
    held_out_documents: int = Field(2_000, ge=1)
    """The most of them that are kept to measure on."""
    max_documents: int | None = Field(None, ge=1)
    """A sample of so many, drawn evenly by content and held in memory; None = all."""
    shard_tokens: int = Field(DEFAULT_SHARD_TOKENS, ge=1)


@dataclass(frozen=True)
class PreparedCorpus:
    """A corpus ready for training.

    Attributes:
        train: its tokens, without special tokens; lines of a document are its sentences.
        held_out: documents that are not in `train`.
        summary: what was read, dropped (by reason) and kept.
    """

    train: TokenCorpus
    held_out: list[CorpusDocument]
    summary: dict[str, Any]


def documents_of(settings: CorpusSettings) -> Iterator[CorpusDocument]:
    """The documents of a corpus as they are read: not cleaned, and none left out.

    Raises:
        SlonikError: what `read_documents` raises.
    """
    keep = settings.cleaning.keep_whitespace
    return read_documents(settings.files, column=settings.column, border=settings.border, keep_whitespace=keep)


def files_identity(settings: CorpusSettings) -> Identity:
    """Identity of the files of a corpus.

    Raises:
        SlonikError: none are named, or one is not there.
    """
    if (shards := shards_given(settings)) is not None:
        return folder_identity(shards, (MANIFEST, _HELD_OUT))
    if not settings.files:
        raise SlonikError("no corpus given: name its files by --corpus FILE, or as corpus.files in the recipe")
    return corpus_identity(settings.files, suffixes=FORMATS)


def check_corpus(settings: CorpusSettings) -> None:
    """Look at the corpus before any work is done.

    Raises:
        SlonikError: an empty or unreadable file, or another language; settings of a corpus that was prepared before.
    """
    if shards_given(settings) is not None:
        return
    documents = documents_of(settings)
    if settings.language != "any":
        next(iter(guard_language(documents, settings.language)))
    if local := [name for name in settings.files if not name.startswith(HUB)]:
        check_files(local)


def check_size(
    settings: CorpusSettings,
    *,
    length: int,
    pairs: bool = False,
    least: int = LEAST_HELD_OUT,
    apart: Collection[str] = (),
    name: str = "corpus",
) -> None:
    """Whether a corpus has enough to train and to measure on, before a tokenizer is made of it.

    Reads, cleans and filters documents until there is enough, at most a million of them; where a sample of them is
    drawn, its own size is seen later.

    Args:
        length: tokens of a sequence; fewer characters than that are too few.
        pairs: documents of several lines are wanted, whose neighbours make pairs.
        least: held-out documents that are wanted.
        apart: sources of which one held-out document each is wanted.
        name: of the settings, for the sentence.

    Raises:
        SlonikError: it has not.
    """
    if shards_given(settings) is not None:
        return
    held = characters = documents = 0
    parted, sources = not pairs, set[str]()
    for _, document in itertools.islice(_filtered(settings, Counter()), _CHECKED_DOCUMENTS):
        if is_held_out(document.text, settings.held_out_share):
            held += 1
            sources.add(document.source)
        else:
            documents += 1
            characters += len(document.text)
            parted = parted or "\n" in document.text
        if held >= least and characters >= length and parted and sources.issuperset(apart):
            return
    if characters < length:
        raise SlonikError(
            f"{_whose(name)} has {characters:,} characters in {documents:,} documents to train on, too few for a "
            f"single sequence of {length:,} tokens: give more text"
        )
    if not parted:
        raise SlonikError(
            f"none of the corpus's {documents:,} documents has a second line, and next-sentence prediction wants pairs "
            "of neighbours: take several lines for a document (corpus.border: 32, or blank for blank lines), or break "
            "lines in records"
        )
    if held < least:
        raise SlonikError(too_few_held_out(held, least, name))
    check_sources(apart, sources)


def too_few_held_out(count: int, least: int = LEAST_HELD_OUT, name: str = "corpus") -> str:
    """The sentence for a corpus that leaves too little to measure on; `name` is that of its settings."""
    return (
        f"{_whose(name)} leaves {count} held-out documents, at least {least} are needed to measure on: give more "
        f"documents, or raise {name}.held_out_share"
    )


def _whose(name: str) -> str:
    return "the corpus" if name == "corpus" else f"the {name} corpus"


def check_sources(apart: Collection[str], sources: Collection[str]) -> None:
    """Whether the sources that are to be reported apart are among those of held-out documents.

    Raises:
        SlonikError: one is not.
    """
    for name in apart:
        if name not in sources:
            raise SlonikError(unknown_name(name, sources, "source of held-out documents (--apart)"))


def check_vocabulary(settings: CorpusSettings, tokenizer: Tokenizer, name: str = "the tokenizer") -> None:
    """Whether a tokenizer has the letters that the corpus is written in, by the beginnings of its first documents.

    Raises:
        SlonikError: a third of the letters are unknown to it, or nearly all are written as bytes.
    """
    if shards_given(settings) is not None:
        return
    facts, unknown = token_facts(tokenizer), read_vocabulary(tokenizer).unknown
    counts = Counter[str]()
    documents = documents_of(settings)
    for document in itertools.islice(documents, _JUDGED_DOCUMENTS):
        text = document.text[:_JUDGED_CHARACTERS]
        encoding = encode(tokenizer, text)
        counts["letters"] += sum(map(str.isalpha, text))
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if number == unknown or number in facts.parts:
                counts["unknown" if number == unknown else "parts"] += sum(map(str.isalpha, text[start:end]))
    letters = max(counts["letters"], 1)
    if (share := counts["unknown"] / letters) > _MOST_UNKNOWN:
        raise SlonikError(
            f"{name} does not know {share:.0%} of the letters of the corpus: its vocabulary lacks the script; give "
            "another tokenizer, or train one on the corpus"
        )
    # Each byte of a letter counts it once more: two for a letter of Russian.
    if (share := min(1.0, counts["parts"] / (2 * letters))) > _MOST_BYTES:
        raise SlonikError(
            f"{name} has no tokens for {share:.0%} of the letters of the corpus and writes them byte by byte: its "
            "vocabulary lacks the script; give another tokenizer, or train one on the corpus"
        )


def shards_given(settings: CorpusSettings) -> Path | None:
    """The folder of shards that the corpus is, made before by `slonik data prepare` or `convert`; None where it is not.

    Raises:
        SlonikError: texts beside it, or settings of what was done to it already.
    """
    folders = [Path(name) for name in settings.files if (Path(name) / MANIFEST).is_file()]
    if not folders:
        return None
    if len(settings.files) > 1:
        raise SlonikError(f"{folders[0]} is tokenised already, and cannot be joined with other files: give it alone")
    standard = CorpusSettings()
    fields = [name for name in type(settings).model_fields if name not in ("files", "language", "held_out_documents")]
    changed = next((name for name in fields if getattr(settings, name) != getattr(standard, name)), None)
    if changed is not None:
        raise SlonikError(
            f"corpus.{changed} is {getattr(settings, changed)!r}, and {folders[0]} was tokenised before: leave it out, "
            "or give the texts"
        )
    return folders[0]


def _check_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    known = shard_facts(folder).get("tokenizer")
    if known != tokenizer_hash(tokenizer):
        what = "with another tokenizer" if known else "by a slonik that did not note with which tokenizer"
        raise SlonikError(f"{folder} was made {what}: name the one that it was made with, or convert the texts again")


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """SHA-256 of everything that decides how a tokenizer cuts texts."""
    return sha256_bytes(tokenizer.to_str().encode("utf-8"))


def corpus_key(settings: CorpusSettings, tokenizer: Tokenizer) -> str:
    """Hash of everything that decides the tokens: contents of files, settings, tokenizer, code."""
    asked = settings.model_dump(mode="json", exclude={"files", "shard_tokens"})
    cut = tokenizer_hash(tokenizer)
    return sha256_json([asked, str(files_identity(settings)), cut, str(code_identity(__name__))])


def prepare_corpus(settings: CorpusSettings, tokenizer: Tokenizer, folder: Path) -> PreparedCorpus:
    """Make the shards of a corpus in `folder`, or open what is there under the same key, or what the corpus itself is.

    Raises:
        SlonikError: no or bad files, a corpus in another language, nothing left after filtering, another corpus or
            something else in the folder, another process that fills it, a full disk.
        MissingExtra: a filter's package is not installed.
    """
    if (shards := shards_given(settings)) is not None:
        _check_tokenizer(shards, tokenizer)
        return open_prepared(shards, verify=True)  # made elsewhere, perhaps, and copied
    files.check_apart(folder, settings.files)
    files.check_new_folder(folder, overwrite=True)
    begun = folder.is_dir() and all(path.name.startswith(_OWN) for path in folder.iterdir())
    files.check_new_folder(folder, overwrite=begun)
    key = corpus_key(settings, tokenizer)
    ids = 1 + max(tokenizer.get_vocab().values(), default=0)  # more than there are tokens where ids have holes
    opened = partial(ShardWriter, folder, key=key, vocabulary=ids, shard_tokens=settings.shard_tokens)
    lock = files.Lock(folder / "lock", f"the folder {folder}")
    if not opened().complete:
        lock.take()
        try:
            if not (writer := opened()).complete:  # another process may have been at it until now
                _fill(writer, settings, tokenizer, folder)
        finally:
            lock.release()
            with contextlib.suppress(OSError):  # where nothing was written, no folder is left
                folder.rmdir()
    elif lock.path.exists():  # of a process that died when all was written
        with contextlib.suppress(SlonikError):
            lock.take()
            lock.release()
    return open_prepared(folder)


def open_prepared(folder: Path, *, verify: bool = False) -> PreparedCorpus:
    """What `prepare_corpus` made in `folder`, without a look at the files that it was made of.

    Args:
        verify: compare the hash of every shard.

    Raises:
        SlonikError: it is not there, not complete or damaged.
    """
    facts = shard_facts(folder)
    return PreparedCorpus(open_shards(folder, verify=verify), _read_held_out(folder), facts["summary"])


def _fill(writer: ShardWriter, settings: CorpusSettings, tokenizer: Tokenizer, folder: Path) -> None:
    if not writer.done and (local := [name for name in settings.files if not name.startswith(HUB)]):
        check_files(local)
    counts: Counter[str] = Counter()
    held_out = Sample[tuple[str, str]](settings.held_out_documents, key=lambda item: item[0])
    batch: list[tuple[int, str]] = []
    waiting = 0

    def flush() -> None:
        nonlocal waiting
        for (number, _), sentences in zip(batch, sentence_ids(tokenizer, [text for _, text in batch]), strict=True):
            writer.add(sentences, source_items=number)
        batch.clear()
        waiting = 0

    with progress_bar("tokenising") as bar:
        for number, document in _filtered(settings, counts):
            bar.advance(1)
            if is_held_out(document.text, settings.held_out_share):
                counts["held_out"] += 1
                held_out.add((document.text, document.source))
                continue
            counts["kept"] += 1
            if number > writer.done:
                batch.append((number, document.text))
                waiting += len(document.text)
                if len(batch) >= _BATCH_DOCUMENTS or waiting >= _BATCH_CHARACTERS:
                    flush()
        flush()
    counts["tokens"] = writer.tokens
    # The texts first: a folder that calls itself complete has them.
    rows = [json.dumps({"text": text, "source": source}, ensure_ascii=False) for text, source in held_out.items()]
    files.write_text(folder / _HELD_OUT, "".join(row + "\n" for row in rows))
    writer.finish(dict(counts), tokenizer=tokenizer_hash(tokenizer))


def document_cleaner(settings: CorpusSettings) -> DocumentCleaner:
    """What cleans the documents of a corpus and judges their language.

    Raises:
        SlonikError: the language of each document is to be looked at, and none is named.
        MissingExtra: py3langid is not installed.
    """
    if settings.drop_other_languages and settings.language == "any":
        raise SlonikError("drop_other_languages needs a language: name it by --language")
    return DocumentCleaner(settings.cleaning, settings.language if settings.drop_other_languages else None)


def _filtered(settings: CorpusSettings, counts: Counter[str]) -> Iterator[tuple[int, CorpusDocument]]:
    """(number of the source's document from 1, document) of those that stay; the others are counted by reason."""
    exact = ExactFilter() if settings.duplicates != "keep" else None
    near = NearFilter(settings.near_threshold) if settings.duplicates == "near" else None
    cleaner = document_cleaner(settings)
    documents = documents_of(settings)
    if settings.language != "any":
        documents = guard_language(documents, settings.language)
    if settings.max_documents is not None:
        documents = iter(sample(documents, settings.max_documents, key=lambda document: document.text))
    for number, document in enumerate(documents, start=1):
        counts["read"] += 1
        text, reason = cleaner.clean(document.text)
        if reason is None and exact is not None and not exact.is_new(text):
            reason = "duplicate"
        if reason is None and near is not None and not near.is_new(text):
            reason = "near_duplicate"
        if reason is None:
            yield number, CorpusDocument(text, document.source)
        else:
            counts[f"dropped_{reason}"] += 1


def _read_held_out(folder: Path) -> list[CorpusDocument]:
    path = folder / _HELD_OUT
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return [CorpusDocument(row["text"], row["source"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlonikError(f"{path} is damaged ({error}): remove {folder} and convert again") from None
