"""Sentence vectors as means of token vectors: a table instead of a network, without torch.

The folder is that of sentence-transformers and of Model2Vec at once: modules.json with a StaticEmbedding (and Normalize
after it) and config.json with `normalize`; tokenizer.json, and model.safetensors, whose rows may be whole numbers of
one byte, each row with a weight: `embeddings` (V, D) and `weights` (V,). Rows of one bit per dimension are ours alone:
`signs` (V, D/8) beside the weights, which other clients do not read. How tables are made is the business of the room
`compression`.

Shapes: N texts, V tokens of the vocabulary, D dimensions.
"""

from __future__ import annotations

import json
import struct
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
from slonik.text.tokenizing import check_texts, load_tokenizer

Precision = Literal["fp32", "fp16", "int8", "bit"]
_FILE = "model.safetensors"
_TYPES: dict[str, str] = {"F32": "<f4", "F16": "<f2", "I8": "i1", "U8": "u1"}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_PRECISIONS: dict[str, Precision] = {"F32": "fp32", "F16": "fp16", "I8": "int8", "U8": "bit"}
_CHUNK = 4096
_TEXTS_WORTH_A_BAR = 200_000


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


class StaticEncoder:
    """A table of token vectors as an encoder: the mean over a text's tokens, normalised where the folder says so.

    Attributes:
        table: a vector per token.
        tokenizer: the raw `tokenizers.Tokenizer`; no special tokens are put around a text.
        normalize: divide by the L2 norm.
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
        name: str = "static",
        source: Path | None = None,
        prefixes: dict[str, str] | None = None,
        default_prefix: str | None = None,
    ) -> None:
        self.table, self.tokenizer, self.normalize = table, tokenizer, normalize
        self.name, self.source = name, source
        self.dimensions: int | None = None
        self.prefixes, self.default_prefix = dict(prefixes or {}), default_prefix
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
        return leading(self._whole(texts, prefix), dimensions or self.dimensions, normalize=self.normalize)

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
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
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
        facts |= {"prefixes": self.prefixes, "default_prefix": self.default_prefix}
        return facts | {"weights_hash": self.weights_hash()}

    def weights_hash(self) -> str:
        """sha256 of rows and weights."""
        weights = b"" if self.table.weights is None else self.table.weights.tobytes()
        return sha256_bytes(np.ascontiguousarray(self.table.rows).tobytes() + weights)

    def identity(self) -> str:
        """sha256 of everything that decides the vectors."""
        facts: dict[str, Any] = {"normalize": self.normalize, "prefixes": self.prefixes}
        facts |= {"default_prefix": self.default_prefix, "dimensions": self.dimensions}
        return sha256_json([self.weights_hash(), self.tokenizer.to_str(), facts])

    def write(self, folder: str | Path) -> None:
        """Write modules.json, the table, the tokenizer and the prefixes into `folder`."""
        from slonik.core.files import write_bytes, write_json  # a process that only reads need not pay for them

        root = Path(folder)
        places = {STATIC: ".", **({"Normalize": "1_Normalize"} if self.normalize else {})}
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
        write_bytes(root / _FILE, _stored(self.table))


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
    if kinds not in ([STATIC], [STATIC, "Normalize"]):
        raise SlonikError(f"{root} has the modules {', '.join(kinds)}: a {STATIC} is read alone or before Normalize")
    place = (root / str(modules[0].get("path", ""))).resolve()
    if not place.is_relative_to(root.resolve()):
        raise SlonikError(f"{root / 'modules.json'} names a place outside the folder: {modules[0].get('path')!r}")
    prompts = read_json(root / "config_sentence_transformers.json", optional=True)
    return StaticEncoder(
        _read_table(place / _FILE),
        load_tokenizer(place),
        normalize=len(kinds) == 2,
        name=str(folder),
        source=root,
        prefixes=prompts.get("prompts") or {},
        default_prefix=prompts.get("default_prompt_name"),
    )


def _stored(table: TokenTable) -> bytes:
    """The bytes of a safetensors file."""
    tensors: dict[str, NDArray[Any]] = {"signs" if table.precision == "bit" else "embeddings": table.rows}
    if table.weights is not None:
        tensors["weights"] = table.weights
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "dimension": str(table.dimension)}}
    parts, place = [], 0
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        header[name] = {
            "dtype": _NAMES[values.dtype], "shape": list(values.shape), "data_offsets": [place, place + values.nbytes],
        }  # fmt: skip
        parts.append(values.tobytes())
        place += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def _read_table(path: Path) -> TokenTable:
    try:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        stored = {name: _array(content, 8 + length, item) for name, item in header.items() if name != "__metadata__"}
        told = header.get("__metadata__", {}).get("dimension")
    except FileNotFoundError:
        raise SlonikError(f"{path} is missing: copy the folder whole") from None
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise SlonikError(f"{path} is damaged or of a type that no token table has ({error}): copy it again") from None
    weights = stored.pop("weights", None)
    mapping = stored.pop("mapping", None)
    rows = next((stored.pop(name) for name in ("embedding.weight", "embeddings", "signs") if name in stored), None)
    if rows is None or rows.ndim != 2 or stored or mapping is not None:
        others = ", ".join(sorted(stored)) or ("mapping" if mapping is not None else "no table")
        raise SlonikError(f"{path} holds {others}: a static model is one table `embedding.weight` or `embeddings`")
    if weights is not None and weights.shape != (len(rows),):
        raise SlonikError(f"{path} has {len(rows)} rows and weights of shape {weights.shape}: copy the folder whole")
    dimension = int(told) if told and rows.dtype == np.uint8 else rows.shape[1]
    return TokenTable(rows, None if weights is None else weights.astype(np.float32), dimension)


def _array(content: bytes, begin: int, item: dict[str, Any]) -> NDArray[Any]:
    kind = "<i8" if item["dtype"] == "I64" else _TYPES[item["dtype"]]
    start, end = (begin + offset for offset in item["data_offsets"])
    return np.frombuffer(content[start:end], dtype=kind).reshape(item["shape"])
