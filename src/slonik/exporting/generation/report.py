"""What an export of a model that writes wrote and measured, as an object, as sentences, and as passport records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slonik.core.records import Record
from slonik.core.run import Result
from slonik.exporting.generation.parity import Likeness
from slonik.exporting.report import SUITE, Speed
from slonik.reporting.table import Cell, Content, Table

SPEED_TOKENS = 24  # written after each of the prompts that are timed


@dataclass(frozen=True, kw_only=True)
class GenerationReport(Result):
    """What was written to `checkpoint`, and measured.

    Attributes:
        sizes: bytes of the ONNX files by precision: "fp32", "int8"; of an encoder-decoder both files together.
        likeness: of each precision to torch.
        speed: milliseconds per prompt with SPEED_TOKENS tokens written; None when it was not measured.
        counts: matrices, smoothed inputs and tables in int8.
        hashes: sha256 of each ONNX file and of the calibration texts.
    """

    sizes: dict[str, int]
    likeness: dict[str, Likeness]
    speed: Speed | None
    counts: dict[str, int]
    hashes: dict[str, str]

    def table(self) -> Table:
        """A row per precision: size, likeness to torch, tokens per second with the range of the rounds."""

        def pace(name: str) -> Content:
            if self.speed is None:
                return ""
            low, high = (_per_second(value) for value in reversed(self.speed.spread(name)))
            return Cell(f"{_per_second(self.speed.milliseconds[name]):.1f}", f"[{low:.1f}, {high:.1f}]")

        lines: list[tuple[Content, ...]] = [("torch", "", "", "", pace("torch"))] if self.speed else []
        for name, size in self.sizes.items():
            found = self.likeness[name]
            agreed = (
                f"largest difference {found.difference:.1e}" if name == "fp32"
                else f"cosine of logits: mean {found.mean_cosine:.5f}, lowest {found.min_cosine:.5f}"
            )  # fmt: skip
            texts = f"{found.same_texts} of {found.texts} texts, {found.same_tokens:.1%} of tokens"
            lines.append((name, f"{size / 1e6:.1f}", agreed, texts, pace(name)))
        heads = ("file", "MB", "agreement with torch", "the same greedily", "tokens per s")
        return Table.of(f"exported to {self.checkpoint}, to write", heads, lines)

    def sentences(self) -> list[str]:
        """What is said under the table."""
        found = ["speed was not measured, so no file is said to be faster"]
        if self.speed is not None:
            found = [self.speed.sentence(name) for name in self.speed.milliseconds if name != "torch"]
            prompts = f"{self.speed.texts} prompts, {SPEED_TOKENS} tokens after each"
            found.append(f"(one text at a time, one thread, {prompts})")
        return [*found, "exported to write; --as encoder gives hidden states and sentence vectors instead"]

    @property
    def use(self) -> str:
        """How the folder is used, as code."""
        return f"slonik.generate({str(self.checkpoint)!r}, [...])"

    def records_of(self, model: str) -> list[Record]:
        """Everything measured, under the name `model`, for a passport or --json."""

        def record(task: str, metric: str, value: float, n: int | None, **more: Any) -> Record:
            return Record(
                suite=SUITE, task=task, model=model, metric=metric, value=value, n=n, hashes=self.hashes, **more
            )

        found = []
        for name, one in self.likeness.items():
            found += [
                record(name, "max_difference", one.difference, one.tokens),
                record(name, "mean_cosine", one.mean_cosine, one.tokens),
                record(name, "min_cosine", one.min_cosine, one.tokens),
                record(name, "divergence", one.divergence, one.tokens),
                record(name, "same_tokens", one.same_tokens, one.tokens),
                record(name, "same_texts", one.same_texts / one.texts, one.texts),
                record(name, "bytes", self.sizes[name], None),
            ]
        if self.speed is not None:
            for name, milliseconds in self.speed.milliseconds.items():
                low, high = (_per_second(value) for value in reversed(self.speed.spread(name)))
                ratio, least, most = self.speed.ratio(name)
                detail = {"threads": 1, "rounds": self.speed.rounds, "interval": "range of the rounds"}
                detail |= {"times_faster_than_torch": ratio, "least_times": least, "most_times": most}
                pace = _per_second(milliseconds)
                found.append(
                    record(name, "tokens_per_second", pace, self.speed.texts, low=low, high=high, detail=detail)
                )
        return found


def _per_second(milliseconds: float) -> float:
    return SPEED_TOKENS / milliseconds * 1000
