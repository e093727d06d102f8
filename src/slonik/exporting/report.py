"""What an export wrote and measured, as an object, as sentences, and as passport records."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slonik.core.records import Record
from slonik.exporting.parity import Agreement, Difference
from slonik.exporting.speed import Speed

SUITE = "export"


@dataclass(frozen=True)
class ExportReport:
    """What was written and measured.

    Attributes:
        folder: where.
        sizes: bytes of each ONNX file by precision: "fp32", "int8", "fp16".
        difference: fp32 against torch.
        agreement: cosines of "int8" and "fp16" against fp32.
        speed: None when it was not measured.
        counts: matrices, smoothed inputs and tables in int8.
        hashes: sha256 of each ONNX file and of the calibration texts.
        limits: what the files cannot do, in sentences.
        judged: what a judge of the whole folder measured.
        scheme: of "int8": "dynamic" or "static"; "none" where there is no such file.
    """

    folder: Path
    sizes: dict[str, int]
    difference: Difference
    agreement: dict[str, Agreement]
    speed: Speed | None
    counts: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    judged: tuple[Record, ...] = ()
    scheme: str = "none"

    def speed_sentences(self) -> list[str]:
        """One sentence per file; nothing is called faster unless it has been measured to be."""
        if self.speed is None:
            return ["speed was not measured, so no file is said to be faster"]
        return [self.speed.sentence(name) for name in self.speed.milliseconds if name != "torch"]

    def records(self, model: str) -> list[Record]:
        """Everything measured, for a passport or --json."""

        def record(task: str, metric: str, value: float, n: int | None, **more: Any) -> Record:
            detail = more.pop("detail", {}) | ({"scheme": self.scheme} if task == "int8" else {})
            return Record(
                suite=SUITE, task=task, model=model, metric=metric, value=value, n=n, detail=detail,
                hashes=self.hashes, **more,
            )  # fmt: skip

        found = [record("fp32", "max_difference", self.difference.largest, len(self.difference.batches))]
        for name, agreed in self.agreement.items():
            figures = agreed.as_dict()
            found += [record(name, metric, figures[metric], agreed.texts) for metric in ("mean_cosine", "min_cosine")]
        found += [record(name, "bytes", size, None) for name, size in self.sizes.items()]
        if self.speed is not None:
            for name, milliseconds in self.speed.milliseconds.items():
                low, high = self.speed.spread(name)
                ratio, least, most = self.speed.ratio(name)
                detail = {
                    "threads": 1,
                    "rounds": self.speed.rounds,
                    "interval": "range of the rounds, 96.9 % for their median",
                }
                detail |= {"times_faster_than_torch": ratio, "least_times": least, "most_times": most}
                texts = self.speed.texts
                found.append(record(name, "ms_per_text", milliseconds, texts, low=low, high=high, detail=detail))
        return [*found, *(one.model_copy(update={"model": f"{model} ({one.model})"}) for one in self.judged)]
