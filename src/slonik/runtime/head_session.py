"""An ONNX file with a head: what it says of itself, whether it belongs to the files beside it, and running examples.

A text's outputs do not depend on what else is in the call: files whose activations are quantised by what they see
("dynamic") are run one example at a time, the others in padded batches of 256 tokens, as in `slonik.runtime.encoder`.

Shapes: B examples of a batch, R inputs of one (candidates, two texts apart), T tokens, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.runtime.session import available_threads, check_parent, choose_file, open_session, read_metadata
from slonik.runtime.threads import in_threads
from slonik.text.batching import pad_fields, token_budget_batches
from slonik.text.task_config import TaskConfig

BATCH_TOKENS = 256
HEAD_OUTPUTS = (("logits",), ("start_logits", "end_logits"))
HEAD_KEY = "head"
"""Key of the metadata under which the exporter says which head it wrote: `head_facts`."""
_MOST_EXAMPLES = 512
_MOST_THREADS_OF_A_TEXT = 4  # products of one text are too small to share further
_TYPES: dict[str, type] = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int32)": np.int32}


class HeadSession:
    """A session over one ONNX file with a head.

    Attributes:
        session: of onnxruntime.
        file: the ONNX file in use.
        threads: threads of one call.
        metadata: what slonik's exporter wrote into the file; empty for files of other tools.
        inputs: names of what the graph takes -> its type.
        outputs: names of the head's outputs.
    """

    def __init__(self, folder: Path, *, file: str | None = None, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise SlonikError(f"threads is {threads}: use 1 or more")
        self.threads = threads or available_threads()
        self.file = choose_file(folder, file)
        self.session: onnxruntime.InferenceSession = open_session(
            self.file, threads=min(self.threads, _MOST_THREADS_OF_A_TEXT)
        )
        self.metadata = read_metadata(self.session)
        self.inputs = {item.name: str(item.type) for item in self.session.get_inputs()}
        names = {item.name for item in self.session.get_outputs()}
        self.outputs: tuple[str, ...] = next((found for found in HEAD_OUTPUTS if names.issuperset(found)), ())
        self._several = next(len(item.shape) for item in self.session.get_inputs() if item.name == "input_ids") == 3

    @property
    def alone(self) -> bool:
        """Whether examples run one at a time: activations are quantised by what is seen, or nothing can be padded."""
        if self.metadata:
            return self.metadata.get("precision") == "dynamic" or bool(self.metadata.get("alone"))
        return any(word in self.file.name for word in ("quantized", "int8", "uint8"))

    def run(self, fields: Sequence[Mapping[str, NDArray[Any]]], pad_id: int) -> list[NDArray[np.float32]]:
        """The outputs of each example, cut to its own rows or tokens: (L,), (R,), (T, L), or (2, T) for spans.

        Args:
            fields: arrays of each example by name, as `PairTokenizer.fields` makes them; what the graph does not take
                is left out.
            pad_id: id of the padding token.
        """
        found: list[Any] = [None] * len(fields)
        for batch, outputs in self._batches(fields, pad_id):
            for place, number in enumerate(batch):
                shape = fields[int(number)]["input_ids"].shape
                own = [np.asarray(values[place], dtype=np.float32) for values in outputs]
                if len(own) == 2:
                    found[number] = np.stack([values[: shape[-1]] for values in own])
                else:
                    found[number] = own[0]
        return found

    def _batches(
        self, fields: Sequence[Mapping[str, NDArray[Any]]], pad_id: int
    ) -> Iterator[tuple[NDArray[np.int64], list[NDArray[Any]]]]:
        batches = token_budget_batches(
            [one["input_ids"].size for one in fields], BATCH_TOKENS, max_texts=1 if self.alone else _MOST_EXAMPLES
        )
        names = list(self.outputs)

        def run(batch: NDArray[np.int64]) -> list[NDArray[Any]]:
            chosen = [self._taken(fields[index]) for index in batch]
            if len(chosen) == 1:
                feed = {name: array[None] for name, array in chosen[0].items()}
            else:
                feed = pad_fields(chosen, {"input_ids": pad_id})
            return self.session.run(names, self._typed(feed))  # type: ignore[no-any-return]

        threads = self.threads if len(batches) > self.threads else 1
        yield from zip(batches, in_threads(run, batches, threads), strict=True)

    def _taken(self, example: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What the graph takes of an example; where it takes several inputs of each, one is the first of one."""
        found = {name: np.asarray(example[name]) for name in self.inputs if name in example}
        if self._several and found["input_ids"].ndim == 1:
            found |= {name: found[name][None] for name in found if name not in ("spans", "names")}
        return found

    def _typed(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Arrays of the types that the graph takes; token types that nobody made are zeros."""
        if "token_type_ids" in self.inputs and "token_type_ids" not in feed:
            feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
        types = {name: _TYPES.get(kind, np.int64) for name, kind in self.inputs.items()}
        return {name: array.astype(types[name], copy=False) for name, array in feed.items()}

    def files(self) -> list[Path]:
        """The ONNX file, and those of its external data."""
        return [self.file, *sorted(self.file.parent.glob(f"{self.file.name}[._]data*"))]

    def weights_hash(self) -> str:
        """sha256 of the ONNX file (and of its external data)."""
        files = self.files()
        return sha256_file(files[0]) if len(files) == 1 else sha256_texts(sha256_file(path) for path in files)

    def facts(self) -> dict[str, Any]:
        """What the exporter wrote about the model, the file, its bytes and precision."""
        found: dict[str, Any] = dict(self.metadata.get("facts", {}))
        found |= {"file": self.file.name, "bytes": sum(path.stat().st_size for path in self.files())}
        return found | {"precision": self.metadata.get("precision", "unknown"), "threads": self.threads}


def head_facts(config: TaskConfig, weights: str) -> dict[str, Any]:
    """What an ONNX file says of its head, so that nobody reads it by the task of another.

    Args:
        weights: hash of the checkpoint that it was made from.
    """
    said = config.model_dump(mode="json", include={"kind", "task", "target", "labels", "pairs"})
    return {**said, "weights": weights}


def check_belongs(session: HeadSession, config: TaskConfig, folder: Path) -> None:
    """Refuse an ONNX file that is not of the model whose task, config and passport lie beside it.

    Raises:
        SlonikError: it has no head, one of another task, of other labels, or of another number of them, or was made
            from other weights.
    """
    file = session.file
    wanted = ("start_logits", "end_logits") if config.target == "answer" else ("logits",)
    if session.outputs != wanted:
        has = ", ".join(item.name for item in session.session.get_outputs())
        raise SlonikError(
            f"{file} gives {has}, and the task of {folder} ({config.target}) needs {' and '.join(wanted)}: it is the "
            "file of another model, or its head was left out; export the checkpoint again"
        )
    said = session.metadata.get(HEAD_KEY)
    if isinstance(said, dict):
        for name, value in head_facts(config, "").items():
            if name not in ("weights", "task") and said.get(name) != value:
                raise SlonikError(
                    f"{file} was made for {name} {_short(said.get(name))}, and {folder} says {_short(value)}: it is "
                    "the file of another model; export the checkpoint again"
                )
        check_parent(file, said.get("weights"), folder)
    axes = next(item.shape for item in session.session.get_outputs() if item.name == wanted[0])
    expected = config.outputs
    if config.target not in ("answer", "choice") and isinstance(axes[-1], int) and axes[-1] != expected:
        raise SlonikError(
            f"{file} gives {axes[-1]} scores, and {folder} names {expected} labels: they do not belong together; "
            "export the checkpoint again"
        )


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
