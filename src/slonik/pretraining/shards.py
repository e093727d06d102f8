"""A tokenised corpus on disk: shards that are written once, whole or not at all, and read as memory maps.

A folder holds `shard_00000/` ... with `tokens.npy` (uint16 where the vocabulary allows, else int32), `sentences.npy`
and `documents.npy` (lengths of sentences in tokens, of documents in sentences), and `shards.json`: the key of the
inputs, counts, the SHA-256 of each file, how many documents of the source are behind each shard. A killed conversion
goes on after its last whole shard; another key is refused. Does not tokenise, and does not say how tokens become
training sequences (`sequences` does).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core import files
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file

IntArray = NDArray[np.int64]


class TokenCorpus:
    """T tokens in S sentences in N documents, in memory or memory-mapped in parts; without special tokens.

    Either way a range of tokens is read without touching the rest.

    Args:
        parts: arrays of token ids that together hold all tokens, in order.
        sentences: (S + 1,) where each sentence begins, and the end.
        documents: (N + 1,) number of the first sentence of each document, and S.
        key: hash of what the corpus was made from; part of a loader's fingerprint.
    """

    def __init__(
        self, parts: Sequence[NDArray[np.integer]], sentences: IntArray, documents: IntArray, key: str = ""
    ) -> None:
        self._parts = list(parts)
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        self.sentences, self.documents, self.key = sentences, documents, key

    def __len__(self) -> int:
        """How many documents there are."""
        return len(self.documents) - 1

    @property
    def token_count(self) -> int:
        """T."""
        return int(self._starts[-1])

    @property
    def document_starts(self) -> IntArray:
        """(N + 1,) the first token of each document, and T."""
        return self.sentences[self.documents]

    def tokens(self, start: int, end: int) -> IntArray:
        """Ids of tokens start .. end - 1."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        found: list[NDArray[np.integer]] = []
        while start < end:
            offset = int(self._starts[first])
            stop = min(end, int(self._starts[first + 1]))
            found.append(self._parts[first][start - offset : stop - offset])
            start, first = stop, first + 1
        if not found:
            return np.zeros(0, dtype=np.int64)
        return np.concatenate(found).astype(np.int64) if len(found) > 1 else found[0].astype(np.int64)

    def document(self, number: int) -> IntArray:
        """Ids of a document."""
        starts = self.sentences[self.documents[number : number + 2]]
        return self.tokens(int(starts[0]), int(starts[1]))

    def subset(self, numbers: Sequence[int], key: str = "") -> TokenCorpus:
        """The documents `numbers`, in this order, as a corpus in memory."""
        parts, sentences = [np.zeros(0, dtype=np.int64)], []
        for number in numbers:
            parts.append(self.document(number))
            first, last = int(self.documents[number]), int(self.documents[number + 1])
            sentences.append(np.diff(self.sentences[first : last + 1]))
        counts = np.concatenate([[0], np.cumsum([len(lengths) for lengths in sentences])]).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *sentences]))]).astype(np.int64)
        return TokenCorpus([np.concatenate(parts)], starts, counts, key)

    @classmethod
    def of(cls, documents: Sequence[Sequence[Sequence[int]]], key: str = "") -> TokenCorpus:
        """Documents of sentences of ids, in memory; empty sentences and documents are left out."""
        kept = [[sentence for sentence in document if len(sentence)] for document in documents]
        kept = [document for document in kept if document]
        lengths = [len(sentence) for document in kept for sentence in document]
        flat = [token for document in kept for sentence in document for token in sentence]
        sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        counts = np.concatenate([[0], np.cumsum([len(document) for document in kept])]).astype(np.int64)
        return cls([np.asarray(flat, dtype=np.int32)], sentences, counts, key)


MANIFEST = "shards.json"
FORMAT = 1
DEFAULT_SHARD_TOKENS = 20_000_000


class ShardWriter:
    """Appends documents to a folder of shards.

    Args:
        folder: made when missing.
        key: hash of everything that decides the tokens (files, cleaning, tokenizer).
        vocabulary: pieces; decides the type of the numbers.
        shard_tokens: a shard is closed when it has so many.

    Attributes:
        done: items of the source that the whole shards cover: skip so many when going on.

    Raises:
        SlonikError: the folder was made from other inputs, or is complete or damaged.
    """

    def __init__(self, folder: Path, *, key: str, vocabulary: int, shard_tokens: int = DEFAULT_SHARD_TOKENS) -> None:
        self._folder, self._limit = folder, shard_tokens
        self._dtype = np.uint16 if vocabulary <= 1 << 16 else np.int32
        self._facts: dict[str, Any] = {"format": FORMAT, "key": key, "complete": False, "shards": []}
        if (folder / MANIFEST).exists():
            self._facts = _read_manifest(folder)
            if self._facts["key"] != key:
                raise SlonikError(f"{folder} was made from other inputs: remove it or choose another --out")
        self.done = int(self._facts["shards"][-1]["source_items"]) if self._facts["shards"] else 0
        self._items = self.done
        self._tokens = bytearray()  # an array per sentence would cost a hundred bytes each
        self._sentences: list[int] = []
        self._documents: list[int] = []
        self._count = 0

    @property
    def complete(self) -> bool:
        """Whether `finish` was called before."""
        return bool(self._facts["complete"])

    @property
    def tokens(self) -> int:
        """Tokens added so far, those of whole shards written before included."""
        return sum(int(shard["tokens"]) for shard in self._facts["shards"]) + self._count

    def add(self, sentences: Sequence[Sequence[int]], *, source_items: int) -> None:
        """Append a document of sentences of token ids; empty ones are left out.

        Args:
            source_items: how many items of the source have been read, this one included.
        """
        kept = [sentence for sentence in sentences if len(sentence)]
        self._items = source_items
        if not kept:
            return
        self._documents.append(len(kept))
        for sentence in kept:
            self._tokens += np.asarray(sentence, dtype=self._dtype).tobytes()
            self._sentences.append(len(sentence))
            self._count += len(sentence)
        if self._count >= self._limit:
            self._close()

    def finish(self, summary: dict[str, Any] | None = None, **facts: Any) -> TokenCorpus:
        """Write what is left, mark the folder complete, and open it.

        Args:
            facts: further entries of the manifest.

        Raises:
            SlonikError: no token was written.
        """
        if not self.close():
            raise SlonikError(f"nothing was left of the corpus for {self._folder.name}: every text was filtered out")
        self._facts |= {"complete": True, "summary": summary or {}, **facts}
        files.write_json(self._folder / MANIFEST, self._facts)
        return open_shards(self._folder)

    def close(self) -> list[dict[str, Any]]:
        """Write what is left; the facts of all shards, for a manifest that names those of several writers."""
        if self._documents:
            self._close()
        return list(self._facts["shards"])

    def _close(self) -> None:
        """Write the shard at hand, then name it in the manifest."""
        name = f"shard_{len(self._facts['shards']):05d}"
        arrays = {
            "tokens": np.frombuffer(self._tokens, dtype=self._dtype),
            "sentences": np.asarray(self._sentences, dtype=np.int32),
            "documents": np.asarray(self._documents, dtype=np.int32),
        }
        with files.new_folder(self._folder / name, overwrite=True) as temporary:
            for part, array in arrays.items():
                np.save(temporary / f"{part}.npy", array)
            hashes = {part: sha256_file(temporary / f"{part}.npy") for part in arrays}
        counts = {part: len(array) for part, array in arrays.items()}
        self._facts["shards"].append({"name": name, **counts, "sha256": hashes, "source_items": self._items})
        files.write_json(self._folder / MANIFEST, self._facts)
        del arrays  # they look into the buffer
        self._tokens, self._sentences, self._documents, self._count = bytearray(), [], [], 0


def open_shards(folder: Path, *, verify: bool = False) -> TokenCorpus:
    """A complete folder of shards as a corpus, its tokens memory-mapped.

    Args:
        verify: compare the hash of every file.

    Raises:
        SlonikError: missing, unfinished, cut short or damaged.
    """
    facts = _read_manifest(folder)
    if not facts["complete"]:
        raise SlonikError(f"the conversion into {folder} was interrupted: run the same command again to finish it")
    parts, sentences, documents = [], [], []
    for shard in facts["shards"]:
        place = folder / shard["name"]
        try:
            if verify:
                _verify(place, shard["sha256"])
            arrays = [
                np.load(place / f"{part}.npy", mmap_mode="r" if part == "tokens" else None)
                for part in ("tokens", "sentences", "documents")
            ]
        except (OSError, ValueError, EOFError) as error:
            raise SlonikError(f"{place} is damaged ({error}): remove {folder} and convert again") from None
        if [len(array) for array in arrays] != [shard[part] for part in ("tokens", "sentences", "documents")]:
            raise SlonikError(f"{place} is cut short: remove {folder} and convert again")
        parts.append(arrays[0])
        sentences.append(arrays[1])
        documents.append(arrays[2])
    return TokenCorpus(parts, _starts(sentences), _starts(documents), facts["key"])


def joined_facts(key: str, parts: Iterable[Sequence[dict[str, Any]]], **facts: Any) -> dict[str, Any]:
    """The manifest of the shards of several writers, in order; their names are made anew.

    Args:
        key: hash of everything that decides the tokens.
        parts: what `ShardWriter.close` gave for each writer.
        facts: further entries.
    """
    shards: list[dict[str, Any]] = []
    before = 0
    for part in parts:
        for shard in part:
            items = before + int(shard["source_items"])
            shards.append({**shard, "name": f"shard_{len(shards):05d}", "source_items": items})
        before = int(shards[-1]["source_items"]) if part else before
    return {"format": FORMAT, "key": key, "complete": True, "shards": shards, **facts}


def shard_facts(folder: Path) -> dict[str, Any]:
    """The manifest: counts, hashes, and the summary that `finish` was given.

    Raises:
        SlonikError: there is none, or it is damaged.
    """
    return _read_manifest(folder)


def _starts(lengths: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(list(lengths)), dtype=np.int64)])


def _verify(place: Path, hashes: dict[str, str]) -> None:
    for part, expected in hashes.items():
        if sha256_file(place / f"{part}.npy") != expected:
            raise SlonikError(f"{place / part}.npy is not what was written: remove the folder and convert again")


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SlonikError(f"{folder} holds no tokenised corpus: make one with slonik data convert") from None
    except (OSError, ValueError) as error:
        raise SlonikError(f"{folder / MANIFEST} is damaged ({error}): remove the folder and convert again") from None
    if facts.get("format") != FORMAT:
        raise SlonikError(
            f"{folder} has the format {facts.get('format')}, this version reads {FORMAT}: convert the corpus again"
        )
    return facts
