"""A checkpoint to a folder that runs without torch: graph, int8, parity, speed, and the files that clients read.

    onnx/model.onnx, onnx/model_quantized.onnx, onnx/model_fp16.onnx, tokenizer.json, config.json, passport.json,
    and the sentence-transformers files.

The folder appears whole or not at all, and only when every file in it holds its floor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime

from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.core.passport import Step
from slonik.core.records import Record
from slonik.exporting import parity
from slonik.exporting.companions import write_companions, write_dockerfile
from slonik.exporting.fusions import optimise
from slonik.exporting.graph import copied
from slonik.exporting.parity import calibration_texts, parity_texts
from slonik.exporting.precision import input_ranges, quantise, to_half
from slonik.exporting.report import ExportReport, time_files
from slonik.exporting.torch_graph import SentenceGraph, limits_of, part_to_export, to_onnx
from slonik.models import TorchEncoder, load
from slonik.runtime.session import METADATA_KEY, open_session

Int8 = Literal["dynamic", "static", "none"]
FILES = {"fp32": "model.onnx", "int8": "model_quantized.onnx", "fp16": "model_fp16.onnx"}
_PROTOBUF_LIMIT = 1_900_000_000  # bytes; larger files keep their weights in a second file


def export(
    encoder: TorchEncoder | str | Path,
    out: str | Path,
    *,
    int8: Int8 = "dynamic",
    fp16: bool = False,
    docker: bool = False,
    corpus: Sequence[str] | None = None,
    measure_speed: bool = True,
    judge: Callable[[Path], Sequence[Record]] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Export an encoder (or a checkpoint by folder, hub id or `embedded:NAME`) to the folder `out`.

    Args:
        int8: "dynamic" takes activation ranges while running, "static" from calibration texts; "none" writes no
            int8 file.
        fp16: write onnx/model_fp16.onnx too.
        docker: write a Dockerfile that serves the folder.
        corpus: calibration texts; None = our own Russian ones.
        measure_speed: time torch and the files side by side.
        judge: measures the whole folder before it appears, and raises SlonikError to refuse it.
        overwrite: replace a folder that is there.

    Raises:
        SlonikError: a family that cannot be exported, a file under its floor, a folder that cannot be written, or one
            that holds the checkpoint itself.
    """
    started = time.perf_counter()
    if int8 not in ("dynamic", "static", "none"):
        raise SlonikError(f"--int8 is {int8!r}: use dynamic, static or none")
    loaded = encoder if isinstance(encoder, TorchEncoder) else load(encoder, device="cpu")
    if loaded.source is None:
        raise SlonikError(f"{loaded.name} lies in memory only: save it with slonik.models.save, then export the folder")
    if Path(out).resolve() in (loaded.source.resolve(), *loaded.source.resolve().parents):
        raise SlonikError(f"{out} holds the checkpoint itself, which an export would replace: choose another --out")
    texts = calibration_texts() if corpus is None else list(corpus)
    if not texts:
        raise SlonikError("the calibration corpus is empty: give at least a few dozen texts")
    with new_folder(out, overwrite=overwrite) as unfinished:
        work = _Work(loaded, unfinished, int8, texts)
        work.fp32()
        if int8 != "none":
            work.int8()
        if fp16:
            work.fp16()
        write_companions(loaded, unfinished)
        judged = tuple(judge(unfinished)) if judge is not None else ()
        report = work.report(Path(out), measure_speed, judged)
        if docker:
            write_dockerfile(unfinished)
        _write_passport(work, report, unfinished, time.perf_counter() - started)
    return report


@dataclass
class _Work:
    """One export on its way: the graph in torch, the files written so far, and what was measured on them."""

    encoder: TorchEncoder
    folder: Path
    scheme: Int8
    corpus: list[str]
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    agreement: dict[str, parity.Agreement] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, onnxruntime.InferenceSession] = field(default_factory=dict)

    def __post_init__(self) -> None:
        part = part_to_export(self.encoder.model, self.encoder.name)
        self.graph = SentenceGraph(part, self.encoder.sentence).eval()
        self.rows = self.encoder.tokenize(parity_texts())

    def fp32(self) -> None:
        """Write the fp32 file and hold it to torch."""
        self.model = optimise(to_onnx(self.graph, self.encoder.max_length))
        self._write(self.model, "fp32", "fp32")
        batches = parity.batches_of(self.rows, self.encoder.max_length, self.encoder.pad_id)
        self.difference = parity.difference_to_torch(self.sessions["fp32"], self.graph, batches)
        parity.check_difference(self.encoder.name, self.difference)
        self.vectors = parity.vectors_of(self.sessions["fp32"], self.rows)

    def int8(self) -> None:
        """Write the int8 file and hold it to fp32."""
        assert self.scheme != "none"
        ranges = input_ranges(self.model, self.encoder.tokenize(self.corpus))
        self.hashes["calibration"] = sha256_texts(self.corpus)
        quantised = copied(self.model)
        self.counts = quantise(quantised, self.scheme, ranges)
        self._write(quantised, "int8", self.scheme)
        self._agree("int8", self.scheme)

    def fp16(self) -> None:
        """Write the fp16 file and hold it to fp32."""
        self._write(to_half(self.model), "fp16", "fp16")
        self._agree("fp16", "fp16")

    def report(self, folder: Path, measure_speed: bool, judged: tuple[Record, ...]) -> ExportReport:
        """Measure speed if asked, and gather everything."""
        speed = time_files(self.sessions, self.graph, self.rows) if measure_speed else None
        return ExportReport(
            folder, self.sizes, self.difference, self.agreement, speed, counts=self.counts, hashes=self.hashes,
            limits=limits_of(str(self.encoder.model.config.model_type)), judged=judged, scheme=self.scheme,
        )  # fmt: skip

    def _agree(self, name: str, precision: str) -> None:
        vectors = parity.vectors_of(self.sessions[name], self.rows)
        self.agreement[name] = parity.agreement(self.vectors, vectors)
        parity.check_agreement(self.encoder.name, precision, self.agreement[name])

    def _write(self, model: onnx.ModelProto, name: str, precision: str) -> None:
        path = self.folder / "onnx" / FILES[name]
        path.parent.mkdir(exist_ok=True)
        facts = {key: value for key, value in self.encoder.describe().items() if _plain(value)}
        facts = {key: value for key, value in facts.items() if key not in ("name", "bytes", "dtype")}
        metadata = {"precision": precision, "max_length": self.encoder.max_length, "facts": facts}
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata, ensure_ascii=False)})
        large = model.ByteSize() > _PROTOBUF_LIMIT
        onnx.save(model, path, save_as_external_data=large, location=f"{path.name}_data" if large else None)
        self.sizes[name] = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        self.hashes[name] = sha256_file(path)
        self.sessions[name] = open_session(path, threads=1)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | tuple | None)


def _write_passport(work: _Work, report: ExportReport, folder: Path, seconds: float) -> None:
    encoder = work.encoder
    step = Step(
        command="export",
        config={"int8": work.scheme, "fp16": "fp16" in work.sizes},
        inputs={"parent": encoder.weights_hash(), "calibration": sha256_texts(work.corpus)},
        seconds=round(seconds, 3),
        summary={"bytes": work.sizes, **work.counts},
    )
    passport = encoder.passport.with_step(step).with_records(report.records(encoder.passport.name))
    passport.write(folder)
