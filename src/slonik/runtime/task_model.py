"""An exported model with a head for labels, numbers, candidates or spans: a `Classifier` without torch.

Rows, windows and answers are `slonik.text.task_rows`', the session is `slonik.runtime.head_session`'s. Taggers are
`slonik.runtime.tagging.onnx_tagger`'s.

Shapes: N rows, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.protocols import FloatArray, LongTexts
from slonik.runtime.head_session import HeadSession
from slonik.text.answers import Answer
from slonik.text.pairs import Fields, PairTokenizer
from slonik.text.task_config import TaskConfig
from slonik.text.task_rows import TaskRow, chosen_way, logits_of, predict_rows


class OnnxTaskModel:
    """An ONNX file with a head, its tokenizer and its task.

    Attributes:
        name: what the user called it.
        source: its folder.
        config: what the outputs mean.
        target, labels: of the task, see `slonik.core.protocols.Classifier`.
        pairs: reads texts and pairs as rows of token ids.
        long_texts: what happens to long texts where the caller does not say.
    """

    def __init__(
        self, session: HeadSession, config: TaskConfig, pairs: PairTokenizer, *, name: str, source: Path,
        long_texts: LongTexts | None = None,
    ) -> None:  # fmt: skip
        self.name, self.source = name, source
        self.config = config
        self.target: str = config.target
        self.labels = config.labels
        self.pairs = pairs
        self.long_texts: LongTexts = chosen_way(long_texts, config)
        self._session = session

    def __repr__(self) -> str:
        return f"OnnxTaskModel({self.name!r}, {self.target}, {len(self.labels)} labels)"

    @property
    def tokenizer(self) -> Tokenizer:
        """The raw `tokenizers.Tokenizer`."""
        return self.pairs.tokenizer

    @property
    def max_length(self) -> int:
        """The most tokens of one input, specials included."""
        return self.pairs.max_length

    @property
    def threads(self) -> int:
        """Threads of one call."""
        return self._session.threads

    @property
    def alone(self) -> bool:
        """Whether rows are run one at a time, because this file's activations are quantised by what they see."""
        return self._session.alone

    @property
    def file(self) -> Path:
        """The ONNX file in use."""
        return self._session.file

    def run(self, fields: Sequence[Fields]) -> list[NDArray[Any]]:
        """The head's outputs of each example: (L,), candidates (R,), or first and last tokens (2, T)."""
        found: list[NDArray[Any]] = list(self._session.run(fields, self.pairs.pad_id))
        if self.target == "choice":
            return [values[: len(one["input_ids"])] for values, one in zip(found, fields, strict=True)]
        return found

    def logits(self, rows: Sequence[TaskRow], *, long_texts: LongTexts | None = None) -> FloatArray:
        """Scores (N, L) of texts, pairs or rows with columns; of numbers (N, 1), before any softmax or sigmoid.

        Raises:
            SlonikError: rows that the task does not read, or a task whose outputs are no scores of labels.
            TooLong: a text has more tokens than the model takes, and long ones are refused.
        """
        return logits_of(rows, self.config, self.pairs, self.run, long_texts or self.long_texts)

    def predict(self, rows: Iterable[TaskRow], *, long_texts: LongTexts | None = None) -> list[Answer]:
        """An answer per row: a label, labels, a number, a candidate, or a span of the context.

        Raises:
            SlonikError: as `logits`.
        """
        return predict_rows(rows, self.config, self.pairs, self.run, long_texts or self.long_texts)

    def encode(self, texts: Sequence[str], *, prefix: str | None = None, long_texts: LongTexts | None = None) -> Any:
        """The files hold scores alone; the checkpoint in torch encodes with the encoder below its head.

        Raises:
            SlonikError: always; it says what does.
        """
        raise SlonikError(
            f"{self.name} is exported with its head and gives no vectors: export what is below it with "
            "`slonik export CHECKPOINT --as encoder`"
        )

    def describe(self) -> dict[str, Any]:
        """Facts: what the exporter wrote about the model, the file, its bytes, precision, target and labels."""
        facts = self._session.facts() | {"name": self.name, "max_length": self.max_length}
        facts |= {"target": self.target, "labels": list(self.labels), "task": self.config.task}
        return facts | {"pieces": self.tokenizer.get_vocab_size(), "long_texts": self.long_texts}

    def weights_hash(self) -> str:
        """sha256 of the ONNX file (and of its external data)."""
        return self._session.weights_hash()

    def identity(self) -> str:
        """sha256 of everything that decides the answers: file, tokenizer, task, long texts."""
        task = self.config.model_dump(mode="json")
        parts = {"weights": self.weights_hash(), "tokenizer": self.tokenizer.to_str(), "pad_id": self.pairs.pad_id}
        return sha256_json({**parts, "task": task, "long_texts": self.long_texts})
