"""Sentence vectors as means of token vectors: a table instead of a network, without torch.

The folder is that of sentence-transformers and of Model2Vec at once: modules.json with a StaticEmbedding (and Normalize
after it, and a Dense that multiplies by one number where vectors are longer than 1, which Model2Vec does not read) and
config.json with `normalize`; tokenizer.json, and model.safetensors, whose rows may be whole numbers of
one byte, each row with a weight: `embeddings` (V, D) and `weights` (V,). Rows of one bit per dimension are ours alone:
`signs` (V, D/8) beside the weights, which other clients do not read. How tables are made is the business of the room
`compression`.

Shapes: N texts, V tokens of the vocabulary, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray
from slonik.text.lines import read_json
from slonik.text.matryoshka import check_dimensions, leading
from slonik.text.pipeline_files import MODULES, STATIC, is_static
from slonik.text.tensors import read_arrays, read_metadata, read_tensors, stored, write_tensors
from slonik.text.tokenizing import check_texts, load_tokenizer

Precision = Literal["fp32", "fp16", "int8", "bit"]
_FILE = "model.safetensors"
_DENSE, _DENSE_WEIGHT = "Dense", "linear.weight"
_IDENTITY = "torch.nn.modules.linear.Identity"
_TYPES: dict[str, str] = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1"}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_PRECISIONS: dict[str, Precision] = {"F32": "fp32", "F16": "fp16", "I8": "int8", "U8": "bit"}
_CHUNK = 4096
_TEXTS_WORTH_A_BAR = 200_000
_MOST_WORDS = 100_000  # some 20 MB
_WITHIN_WORDS = ("Nmt", "NFC", "NFKC", "Lowercase")
"""Normalizers that see no further than to the next space."""


@dataclass(frozen=True)
class TokenTable:
    """A vector per token.

    Attributes:
        rows: (V, D) float32, float16 or int8, or the signs (V, D/8) uint8, packed, the first dimension in the highest
            bit.
        weights: (V,) float32, what a row is multiplied by; None = 1.
        dimension: D.
    """

    rows: NDArray[Any]
    weights: FloatArray | None
    dimension: int

    @property
    def precision(self) -> Precision:
        """How a number of the table is stored."""
        return _PRECISIONS[_NAMES[self.rows.dtype]]

    @property
    def bytes(self) -> int:
        """Bytes of rows and weights."""
        return int(self.rows.nbytes + (0 if self.weights is None else self.weights.nbytes))

    def vectors(self, ids: NDArray[np.integer]) -> FloatArray:
        """Weighted rows (n, D) of the tokens `ids` (n,)."""
        rows = self.rows[ids]
        if self.precision == "bit":
            rows = np.unpackbits(rows, axis=1, count=self.dimension).astype(np.float32) * 2.0 - 1.0
        found: FloatArray = rows.astype(np.float32, copy=False)
        return found if self.weights is None else found * self.weights[ids][:, None]

    def sums(self, ids: Sequence[Sequence[int]]) -> FloatArray:
        """Sums of the rows of each text's tokens (N, D); zeros where a text has none."""
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter((token for row in ids for token in row), dtype=np.int64, count=int(lengths.sum()))
        sums = np.zeros((len(ids), self.dimension), dtype=np.float32)
        present = np.flatnonzero(lengths)
        if len(present):
            starts = np.concatenate([[0], np.cumsum(lengths[present])[:-1]])
            sums[present] = np.add.reduceat(self.vectors(flat), starts, axis=0)
        return sums


def quantised(vectors: FloatArray, precision: Precision) -> TokenTable:
    """A table of the vectors (V, D), in fewer bits where asked.

    int8: a row is divided by its largest number and multiplied by 127. bit: its signs, and its mean absolute value as
    weight, which is the best multiple of the signs in squared error (Rastegari et al. 2016, section 3.1).

    Raises:
        SlonikError: one bit per dimension of a dimension that is no multiple of 8.
    """
    dimension = vectors.shape[1]
    if precision in ("fp32", "fp16"):
        return TokenTable(vectors.astype(np.float16 if precision == "fp16" else np.float32), None, dimension)
    if precision == "bit":
        if dimension % 8:
            raise SlonikError(f"a table of {dimension} dimensions cannot have one bit for each: use a multiple of 8")
        return TokenTable(np.packbits(vectors > 0, axis=1), np.abs(vectors).mean(1).astype(np.float32), dimension)
    largest = np.maximum(np.abs(vectors).max(1), 1e-12)
    codes = np.rint(vectors / largest[:, None] * 127.0).astype(np.int8)
    return TokenTable(codes, (largest / 127.0).astype(np.float32), dimension)


class WordIds:
    """Token ids of texts, without specials, word by word from memory where the tokenizer cuts each word alone.

    Tokenising is nearly all that a table costs, and most words of a text were met before. Ids are exactly those of the
    tokenizer: where it does not cut at every space, or a text begins with neither letter nor digit, it is asked itself.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[int, ...]] = {}
        self._by_words = _cuts_at_spaces(json.loads(tokenizer.to_str()))

    def __call__(self, texts: list[str]) -> list[Sequence[int]]:
        """Ids of each text."""
        if not self._by_words:
            return self._asked(texts)
        words = [text.split(" ") if text[:1].isalnum() else None for text in texts]
        known = self._known
        new = {word for row in words if row is not None for word in row if word not in known}
        if new:
            if len(known) + len(new) > _MOST_WORDS:
                known = self._known = {}
                new = {word for row in words if row is not None for word in row}
            asked = list(new)
            # Inside a text a space stands before the word, which tells where it begins.
            known.update(zip(asked, map(tuple, self._asked([f" {word}" for word in asked])), strict=True))
        odd = iter(self._asked([text for text, row in zip(texts, words, strict=True) if row is None]))
        return [next(odd) if row is None else [n for word in row for n in known[word]] for row in words]

    def _asked(self, texts: list[str]) -> list[Sequence[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _cuts_at_spaces(content: dict[str, Any]) -> bool:
    """Whether a tokenizer (its JSON) cuts texts at every space and reads each part alone."""
    splitter, normalizer = content.get("pre_tokenizer") or {}, content.get("normalizer")
    steps = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    marks = [str(token["content"]) + ("x " if token["lstrip"] or token["rstrip"] else "") for token in
             content.get("added_tokens", ())]  # fmt: skip
    return (
        splitter.get("type") == "Metaspace"
        and splitter.get("split") is True
        and splitter.get("prepend_scheme") == "always"
        and all(step.get("type") in _WITHIN_WORDS for step in steps)
        and not any(" " in mark for mark in marks)
        and content.get("truncation") is None
        and content.get("padding") is None
    )


class StaticEncoder:
    """A table of token vectors as an encoder: the mean over a text's tokens, normalised where the folder says so.

    Attributes:
        table: a vector per token.
        tokenizer: the raw `tokenizers.Tokenizer`; no special tokens are put around a text.
        normalize: divide by the L2 norm.
        scale: length of normalised vectors.
        name: what the user called it.
        source: its folder; None if made in memory.
        dimensions: how many leading ones are given where a call does not say; None = all.
        dimension: of the vectors that are given.
        prefixes: name -> text put before each input; default_prefix: the one used when the caller names none.
    """

    def __init__(
        self,
        table: TokenTable,
        tokenizer: Tokenizer,
        *,
        normalize: bool = True,
        scale: float = 1.0,
        name: str = "static",
        source: Path | None = None,
        prefixes: dict[str, str] | None = None,
        default_prefix: str | None = None,
    ) -> None:
        self.table, self.tokenizer, self.normalize = table, tokenizer, normalize
        self.name, self.source, self.scale = name, source, scale
        if scale != 1.0 and not normalize:
            raise SlonikError(f"{name} has vectors of any length and a scale of {scale}: put it into the table")
        self.dimensions: int | None = None
        self.prefixes, self.default_prefix = dict(prefixes or {}), default_prefix
        self._ids = WordIds(tokenizer)
        if tokenizer.get_vocab_size() > len(table.rows):
            raise SlonikError(
                f"{name} has {len(table.rows)} token vectors and a tokenizer of {tokenizer.get_vocab_size()} tokens: "
                "they do not belong together"
            )

    def __repr__(self) -> str:
        return f"StaticEncoder({self.name!r}, {self.dimension} dimensions, {self.table.precision})"

    @property
    def dimension(self) -> int:
        """Dimensions of the vectors that are given."""
        return self.dimensions or self.table.dimension

    def encode(self, texts: Sequence[str], *, prefix: str | None = None, dimensions: int | None = None) -> FloatArray:
        """Vectors (N, D) of texts of any length; zeros for a text without tokens.

        Args:
            prefix: put before each text; None = the folder's default.
            dimensions: how many leading ones, brought to length one again where whole vectors are; None = the
                encoder's own way.

        Raises:
            SlonikError: more dimensions than there are.
        """
        check_texts(texts)
        if dimensions is not None:
            check_dimensions(dimensions, self.table.dimension, self.name)
        found = leading(self._whole(texts, prefix), dimensions or self.dimensions, normalize=self.normalize)
        return found if self.scale == 1.0 else found * np.float32(self.scale)

    def _whole(self, texts: Sequence[str], prefix: str | None) -> FloatArray:
        start = self.prefixes.get(self.default_prefix or "", "") if prefix is None else prefix
        given = [start + text for text in texts] if start else list(texts)
        if len(given) < _TEXTS_WORTH_A_BAR:
            return self._encode(given)
        with progress_bar(f"encoding with {self.name}", total=len(given)) as bar:
            parts = []
            for first in range(0, len(given), _CHUNK):
                parts.append(self._encode(given[first : first + _CHUNK]))
                bar.advance(len(parts[-1]))
        return np.concatenate(parts)

    def _encode(self, texts: list[str]) -> FloatArray:
        ids = self._ids(texts)
        vectors = self.table.sums(ids)
        lengths = np.fromiter(map(len, ids), dtype=np.float32, count=len(ids))[:, None]
        if self.normalize:  # a sum and a mean have one direction
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        found: FloatArray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
        return found

    def describe(self) -> dict[str, Any]:
        """Facts: tokens, dimensions, bytes and precision of the table, prefixes, hash of the weights."""
        facts: dict[str, Any] = {"name": self.name, "model_type": "static", "dimension": self.dimension}
        facts |= {"pieces": len(self.table.rows), "parameters": len(self.table.rows) * self.table.dimension}
        facts |= {"bytes": self.table.bytes, "precision": self.table.precision, "normalize": self.normalize}
        facts |= {} if self.scale == 1.0 else {"scale": self.scale}
        facts |= {"prefixes": self.prefixes, "default_prefix": self.default_prefix}
        return facts | {"weights_hash": self.weights_hash()}

    def weights_hash(self) -> str:
        """sha256 of rows and weights."""
        weights = b"" if self.table.weights is None else self.table.weights.tobytes()
        return sha256_bytes(np.ascontiguousarray(self.table.rows).tobytes() + weights)

    def identity(self) -> str:
        """sha256 of everything that decides the vectors."""
        facts: dict[str, Any] = {"normalize": self.normalize, "prefixes": self.prefixes}
        facts |= {"default_prefix": self.default_prefix, "dimensions": self.dimensions, "scale": self.scale}
        return sha256_json([self.weights_hash(), self.tokenizer.to_str(), facts])

    def write(self, folder: str | Path) -> None:
        """Write modules.json, the table, the tokenizer and the prefixes into `folder`."""
        from slonik.core.files import write_bytes, write_json  # a process that only reads need not pay for them

        root = Path(folder)
        places = {STATIC: ".", **({"Normalize": "1_Normalize"} if self.normalize else {})}
        if self.scale != 1.0:
            places[_DENSE] = f"2_{_DENSE}"
            width = self.table.dimension
            sizes = {"in_features": width, "out_features": width, "bias": False, "activation_function": _IDENTITY}
            write_json(root / places[_DENSE] / "config.json", sizes)
            write_tensors(root / places[_DENSE] / _FILE, {_DENSE_WEIGHT: self.scale * np.eye(width)})
        modules: list[dict[str, Any]] = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(places.items())
        ]
        write_json(root / MODULES, modules)
        config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": self.normalize}
        write_json(root / "config.json", config | {"hidden_dim": self.table.dimension})
        prompts = {"prompts": self.prefixes, "default_prompt_name": self.default_prefix, "similarity_fn_name": "cosine"}
        write_json(root / "config_sentence_transformers.json", prompts)
        write_bytes(root / "tokenizer.json", self.tokenizer.to_str().encode("utf-8"))
        tensors = {"signs" if self.table.precision == "bit" else "embeddings": self.table.rows}
        tensors |= {} if self.table.weights is None else {"weights": self.table.weights}
        write_bytes(root / _FILE, stored(tensors, {"dimension": str(self.table.dimension)})[0])


def load(folder: str | Path) -> StaticEncoder:
    """The static model of a folder, ours or one that sentence-transformers or Model2Vec wrote.

    Raises:
        SlonikError: it is no static model, has modules that are not read here, or is damaged.
    """
    root = Path(folder).expanduser()
    if not is_static(root):
        raise SlonikError(f"{root} is no static model: its modules.json does not begin with a {STATIC}")
    modules = read_json(root / MODULES, list)
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    if kinds not in ([STATIC], [STATIC, "Normalize"], [STATIC, "Normalize", _DENSE]):
        raise SlonikError(
            f"{root} has the modules {', '.join(kinds)}: a {STATIC} is read alone, before Normalize, or before these "
            f"and a {_DENSE} that multiplies by one number"
        )
    places = [(root / str(module.get("path", ""))).resolve() for module in modules]
    for module, place in zip(modules, places, strict=True):
        if not place.is_relative_to(root.resolve()):
            raise SlonikError(f"{root / 'modules.json'} names a place outside the folder: {module.get('path')!r}")
    prompts = read_json(root / "config_sentence_transformers.json", optional=True)
    return StaticEncoder(
        _read_table(places[0] / _FILE),
        load_tokenizer(places[0]),
        normalize=len(kinds) > 1,
        scale=_read_scale(places[2]) if len(kinds) == 3 else 1.0,
        name=str(folder),
        source=root,
        prefixes=prompts.get("prompts") or {},
        default_prefix=prompts.get("default_prompt_name"),
    )


def _read_scale(place: Path) -> float:
    """The one number that a Dense multiplies by."""
    config, weights = read_json(place / "config.json"), read_tensors(place / _FILE)
    weight = weights.pop(_DENSE_WEIGHT, None)
    scale = 0.0 if weight is None else float(weight[0, 0])
    plain = str(config.get("activation_function")).endswith(".Identity") and not weights and not config.get("residual")
    if weight is None or not plain or scale <= 0 or not np.array_equal(weight, scale * np.eye(len(weight), dtype="f4")):
        raise SlonikError(f"{place} is a {_DENSE} that does more than multiply by one number: it is not read here")
    return scale


def _read_table(path: Path) -> TokenTable:
    found, told = read_arrays(path), read_metadata(path).get("dimension")
    weights = found.pop("weights", None)
    mapping = found.pop("mapping", None)
    rows = next((found.pop(name) for name in ("embedding.weight", "embeddings", "signs") if name in found), None)
    if rows is None or rows.ndim != 2 or found or mapping is not None or rows.dtype not in _NAMES:
        others = ", ".join(sorted(found)) or ("mapping" if mapping is not None else "no table")
        raise SlonikError(f"{path} holds {others}: a static model is one table `embedding.weight` or `embeddings`")
    if weights is not None and weights.shape != (len(rows),):
        raise SlonikError(f"{path} has {len(rows)} rows and weights of shape {weights.shape}: copy the folder whole")
    dimension = int(told) if told and rows.dtype == np.uint8 else rows.shape[1]
    return TokenTable(rows, None if weights is None else weights.astype(np.float32), dimension)
