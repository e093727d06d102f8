"""What the export of a head wrote and measured, as a table, as sentences, and as passport records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slonik.core.records import Record
from slonik.core.run import Result
from slonik.exporting.heads.parity import Agreement
from slonik.exporting.report import SUITE, Speed
from slonik.reporting.table import Content, Table


@dataclass(frozen=True, kw_only=True)
class HeadReport(Result):
    """What was written to `checkpoint`, and measured.

    Attributes:
        head: which head it is, in words: "classifier of 3 labels".
        outputs: names of the files' outputs.
        sizes: bytes of each ONNX file by precision: "fp32", "int8", "fp16".
        agreement: of "fp32" with torch, of "int8" and "fp16" with fp32.
        speed: None when it was not measured.
        counts: matrices, smoothed inputs and tables in int8.
        hashes: sha256 of each ONNX file and of the calibration texts.
        scheme: of "int8": "dynamic" or "static"; "none" where there is no such file.
        limits: what the files cannot do, in sentences.
    """

    head: str
    outputs: tuple[str, ...]
    sizes: dict[str, int]
    agreement: dict[str, Agreement]
    speed: Speed | None
    counts: dict[str, int]
    hashes: dict[str, str]
    scheme: str
    limits: tuple[str, ...]

    def table(self) -> Table:
        """A row per file: size, agreement of labels, milliseconds per text with their range."""
        speed = self.speed
        lines: list[tuple[Content, ...]] = [("torch", "", "", speed.cell("torch"))] if speed else []
        for name, size in self.sizes.items():
            agreed = self.agreement[name]
            beside = "torch" if name == "fp32" else "fp32"
            words = f"to {beside}: {agreed.sentence()}; outputs at most {agreed.outputs:.1e} apart"
            lines.append((name, f"{size / 1e6:.1f}", words, speed.cell(name) if speed else ""))
        title = f"exported to {self.checkpoint}: a {self.head}, {' and '.join(self.outputs)}"
        return Table.of(title, ("file", "MB", "agreement", "ms per text"), lines)

    def sentences(self) -> list[str]:
        """What is said under the table: speed, and what the files cannot do."""
        if self.speed is None:
            return ["speed was not measured, so no file is said to be faster", *self.limits]
        found = [self.speed.sentence(name) for name in self.speed.milliseconds if name != "torch"]
        return [*found, f"(one text at a time, one thread, {self.speed.texts} texts)", *self.limits]

    @property
    def use(self) -> str:
        """How the folder is used, as code."""
        return f"slonik.load({str(self.checkpoint)!r}).{'tag' if self.head.startswith('tagger') else 'predict'}([...])"

    def records_of(self, model: str) -> list[Record]:
        """Everything measured, under the name `model`, for a passport or --json."""

        def record(task: str, metric: str, value: float, n: int | None, **more: Any) -> Record:
            detail = more.pop("detail", {}) | ({"scheme": self.scheme} if task == "int8" else {})
            return Record(
                suite=SUITE, task=task, model=model, metric=metric, value=value, n=n, detail=detail,
                hashes=self.hashes, **more,
            )  # fmt: skip

        found = []
        for name, agreed in self.agreement.items():
            values = {
                "max_difference": agreed.outputs, "label_agreement": agreed.agreement,
                "label_agreement_decided": agreed.agreement_decided, "label_f1": agreed.f1,
                "correlation": agreed.correlation, "mean_probability_difference": agreed.mean_difference,
                "max_probability_difference": agreed.max_difference,
            }  # fmt: skip
            if agreed.correlation is not None:  # numbers have no labels, and differ in standard deviations
                values = {
                    "max_difference": agreed.outputs, "correlation": agreed.correlation,
                    "mean_deviation": agreed.mean_difference, "max_deviation": agreed.max_difference,
                }  # fmt: skip
            detail = {"against": "torch" if name == "fp32" else "fp32", "decided": agreed.decided}
            for metric, value in values.items():
                if value is not None:
                    found.append(record(name, metric, value, agreed.answers, detail=dict(detail)))
        found += [record(name, "bytes", size, None) for name, size in self.sizes.items()]
        if self.speed is not None:
            for name, milliseconds in self.speed.milliseconds.items():
                low, high = self.speed.spread(name)
                ratio, least, most = self.speed.ratio(name)
                told: dict[str, Any] = {"threads": 1, "rounds": self.speed.rounds, "interval": "range of the rounds"}
                told |= {"times_faster_than_torch": ratio, "least_times": least, "most_times": most}
                found.append(
                    record(name, "ms_per_text", milliseconds, self.speed.texts, low=low, high=high, detail=told)
                )
        return found
