"""An exported tagger: an ONNX file that scores tokens, read by the chain, without torch.

The graph scores every token; a word's scores are those of its first one. The scores of a CRF's transitions lie beside
the file (`chain.safetensors`), the list of names too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file, sha256_json
from slonik.core.protocols import FloatArray, LongTexts
from slonik.runtime.head_session import HeadSession
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.labels import tag_labels
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.token_features import TokenFeatures
from slonik.runtime.tagging.windows import Window
from slonik.runtime.tagging.word_tagger import WordTagger
from slonik.text.task_config import TaskConfig

CHAIN_FILE = "chain.safetensors"
_OVERLAP = 64  # tokens that windows share where the task does not say


class OnnxTagger(WordTagger):
    """An ONNX file with a token head as a `Tagger`.

    Attributes:
        config: what the outputs mean.
        tokenizer: the raw `tokenizers.Tokenizer`.
        max_length: the most tokens of one window, specials included; longer texts are read in several.
    """

    def __init__(
        self, session: HeadSession, config: TaskConfig, tokenizer: Tokenizer, *, name: str, source: Path,
        max_length: int, pad_id: int,
    ) -> None:  # fmt: skip
        labels = tag_labels(config.labels, rules=bool(config.details.get("rules", True)))
        names = NameList.open(source, labels) if config.head.get("names") else None  # type: ignore[arg-type]
        features = TokenFeatures(
            tokenizer, window=max_length, overlap=int(config.details.get("overlap", _OVERLAP)), names=names
        )
        super().__init__(name, labels, features, source)
        self.config, self.tokenizer, self.max_length = config, tokenizer, max_length
        self.balanced = bool(config.details.get("balanced", False))
        self._session, self._pad = session, pad_id
        crf = bool(config.head.get("crf"))
        self._chain = Chain.read(source / CHAIN_FILE, len(labels)) if crf else Chain.of(len(labels))

    def __repr__(self) -> str:
        return f"OnnxTagger({self.name!r}, {', '.join(self.labels)})"

    @property
    def threads(self) -> int:
        """Threads of one call."""
        return self._session.threads

    @property
    def alone(self) -> bool:
        """Whether windows are run one at a time, because this file's activations are quantised by what they see."""
        return self._session.alone

    @property
    def file(self) -> Path:
        """The ONNX file in use."""
        return self._session.file

    def encode(self, texts: Sequence[str], *, prefix: str | None = None, long_texts: LongTexts | None = None) -> Any:
        """The files hold scores alone; the checkpoint in torch encodes with the encoder below its head.

        Raises:
            SlonikError: always; it says what does.
        """
        raise SlonikError(
            f"{self.name} is exported with its head and gives no vectors: export what is below it with "
            "`slonik export CHECKPOINT --as encoder`"
        )

    def reading(self) -> Chain:
        """The chain, as it was exported."""
        return self._chain

    def scores(self, windows: Sequence[Window]) -> list[FloatArray]:
        """(W, L) scores of the words of each window."""
        fields = [window_fields(window) for window in windows]
        found = self._session.run(fields, self._pad)
        return [values[window.fields["positions"]] for values, window in zip(found, windows, strict=True)]

    def describe(self) -> dict[str, Any]:
        """Facts: kind, what the exporter wrote about the model, the file, its bytes and precision, labels."""
        crf = bool(self.config.head.get("crf"))
        facts = self._session.facts() | {"name": self.name, "labels": list(self.labels), "crf": crf}
        return facts | {"kind": "encoder-crf" if crf else "encoder", "max_length": self.max_length}

    def weights_hash(self) -> str:
        """sha256 of the ONNX file (and of its external data)."""
        return self._session.weights_hash()

    def identity(self) -> str:
        """sha256 of everything that decides spans and confidences: file, chain, tokenizer, windows, names, labels."""
        chain = self.folder / CHAIN_FILE if self.folder is not None else Path(CHAIN_FILE)
        parts = [self.weights_hash(), sha256_file(chain) if chain.is_file() else None, self.tokenizer.to_str()]
        return sha256_json([*parts, self.features.identity(), self.bio.names])


def window_fields(window: Window) -> dict[str, NDArray[Any]]:
    """A window as a graph takes it: the evidence of names stands at the first tokens of words, zeros elsewhere."""
    found = {name: window.fields[name] for name in ("input_ids", "attention_mask")}
    if "names" in window.fields:
        evidence = window.fields["names"]
        names = np.zeros((len(found["input_ids"]), evidence.shape[1]), np.float32)
        names[window.fields["positions"]] = evidence
        found["names"] = names
    return found
