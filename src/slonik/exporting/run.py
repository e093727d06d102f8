"""A checkpoint to a folder that runs without torch: graph, int8, parity, speed, and the files that clients read.

    onnx/model.onnx, onnx/model_quantized.onnx, onnx/model_fp16.onnx, tokenizer.json, config.json, passport.json,
    and the sentence-transformers files.

The folder appears whole or not at all, and only when every file in it holds its floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import onnx
import onnxruntime

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.protocols import LongTexts
from slonik.core.records import Record
from slonik.core.run import Announce, Run, say, silent
from slonik.exporting import parity
from slonik.exporting.companions import write_companions, write_dockerfile
from slonik.exporting.files import FILES, facts_of, write_graph
from slonik.exporting.fusions import optimise
from slonik.exporting.generation.report import GenerationReport
from slonik.exporting.generation.run import Role, export_generator, writes
from slonik.exporting.given import calibration, check_source
from slonik.exporting.heads.report import HeadReport
from slonik.exporting.heads.run import export_head, head_of
from slonik.exporting.parity import parity_texts
from slonik.exporting.precision import InCodes, input_ranges, quantise, to_half
from slonik.exporting.report import ExportReport, Speed, time_files
from slonik.exporting.torch_graph import SentenceGraph, limits_of, part_to_export, to_onnx
from slonik.models import TorchEncoder, load
from slonik.models.kinds import FAMILIES, family_of
from slonik.reporting.client_snippets import snippets
from slonik.reporting.model_card import model_card
from slonik.runtime.session import open_session
from slonik.text.sentence_config import SentenceConfig, checked_long_texts

Int8 = Literal["dynamic", "static", "none"]


def export(
    model: Any,
    out: str | Path,
    *,
    role: Role = "auto",
    int8: Int8 = "dynamic",
    fp16: bool = False,
    standard: bool = False,
    docker: bool = False,
    corpus: str | Path | Iterable[str] | None = None,
    measure_speed: bool = True,
    judge: Callable[[Path], Sequence[Record]] | None = None,
    pooling: str | None = None,
    long_texts: LongTexts | None = None,
    overwrite: bool = False,
    progress: bool = False,
    announce: Announce | None = None,
) -> ExportReport | HeadReport | GenerationReport:
    """Export a model to the folder `out`, which appears whole or not at all: an encoder, one with its head, or one that
    writes.

    Args:
        model: a loaded encoder, task model or tagger that lies in a folder, or a checkpoint by folder, hub id or
            `embedded:NAME`. Whether it has a head is what its files say.
        role: "auto" takes a model with a head as such, and a decoder or encoder-decoder with its language-model head to
            write; "encoder" exports the hidden states and sentence vectors of any of them (of an encoder-decoder its
            encoder's), "generator" insists on writing.
        int8: "dynamic" takes activation ranges while running, "static" from calibration texts; "none" writes no
            int8 file.
        fp16: write onnx/model_fp16.onnx too.
        standard: the int8 file has standard operators alone, as the others always do, for engines beside onnxruntime.
        docker: write a Dockerfile that serves the folder.
        corpus: calibration texts, or a corpus file of which the first 256 are taken; None = our own Russian ones.
        measure_speed: time torch and the files side by side.
        judge: measures the whole folder of an encoder before it appears, and raises SlonikError to refuse it.
        pooling: of an encoder whose folder does not say how a sentence vector is made, as `slonik.load` takes it.
        long_texts: what the exported folder says of texts over the model's length; None = what the checkpoint says.
        overwrite: replace a folder that is there.
        progress: say on standard error what is being done.
        announce: called with a line for each part of the work instead.

    Raises:
        SlonikError: a family or a head that cannot be exported, a file under its floor, a folder that cannot be
            written, or one that holds the checkpoint itself.
    """
    if int8 not in get_args(Int8):
        raise SlonikError(f"--int8 is {int8!r}: use dynamic, static or none")
    if writes(model, role):
        vectors = (("--data-dir", judge), ("--pooling", pooling), ("--long-texts", long_texts))
        refused = next((option for option, given in vectors if given is not None), None)
        return export_generator(
            model, out, int8=int8, fp16=fp16, docker=docker, corpus=corpus, measure_speed=measure_speed,
            refused=refused, overwrite=overwrite, progress=progress, announce=announce,
        )  # fmt: skip
    if role != "encoder" and (headed := head_of(model)) is not None:
        if judge is not None:
            raise SlonikError(
                f"{headed.name} has a head, and encodechka (--data-dir) measures sentence vectors: leave --data-dir "
                "out; the files are held to the labels that torch gives"
            )
        if pooling is not None:
            raise SlonikError(f"{headed.name} has a head, which reads its encoder in its own way: leave pooling out")
        return export_head(
            headed, out, int8=int8, fp16=fp16, standard=standard, docker=docker, corpus=corpus,
            long_texts=long_texts, measure_speed=measure_speed, overwrite=overwrite, progress=progress,
            announce=announce,
        )  # fmt: skip
    if pooling is not None and not isinstance(model, str | Path):
        raise SlonikError(f"{model.name} is loaded already: choose its pooling where it is loaded")
    return _export_encoder(
        model, out, int8=int8, fp16=fp16, standard=standard, docker=docker, corpus=corpus,
        measure_speed=measure_speed, judge=judge, pooling=pooling, long_texts=long_texts, overwrite=overwrite,
        progress=progress, announce=announce,
    )  # fmt: skip


def _export_encoder(
    model: TorchEncoder | str | Path,
    out: str | Path,
    *,
    int8: Int8,
    fp16: bool,
    standard: bool,
    docker: bool,
    corpus: str | Path | Iterable[str] | None,
    measure_speed: bool,
    judge: Callable[[Path], Sequence[Record]] | None,
    pooling: str | None,
    long_texts: LongTexts | None,
    overwrite: bool,
    progress: bool,
    announce: Announce | None,
) -> ExportReport:
    """Export hidden states and sentence vectors; see `export`."""
    asked = {"int8": int8, "fp16": fp16, "standard": standard, "pooling": pooling, "long_texts": long_texts}
    said = announce or (say if progress else silent)
    reads = [model.source if isinstance(model, TorchEncoder) else model]
    reads += [corpus] if isinstance(corpus, str | Path) else []
    with shown(progress), Run(
        out, command="export", config=asked, announce=said, reads=reads, overwrite=overwrite
    ) as run:  # fmt: skip
        encoder = copy(model) if isinstance(model, TorchEncoder) else load(model, device="cpu", pooling=pooling)
        encoder.long_texts = checked_long_texts(long_texts or encoder.long_texts)
        encoder.say_assumed()
        check_source(encoder, run.out)
        texts = calibration(corpus)
        with run.result() as unfinished:
            work = EncoderFiles(encoder, unfinished, int8, texts, standard)
            run.announce("fp32 ...")
            work.fp32()
            if int8 != "none":
                run.announce(f"int8 ({int8}) ...")
                work.int8()
            if fp16:
                run.announce("fp16 ...")
                work.fp16()
            write_companions(encoder, unfinished)
            judged: tuple[Record, ...] = ()
            if judge is not None:
                run.announce("judging the files ...")
                judged = tuple(judge(unfinished))
            speed = work.speed() if measure_speed else None
            if docker:
                write_dockerfile(unfinished)
            report = work.report(run.out, speed, judged)
            run.input("parent", encoder.weights_hash())
            run.input("calibration", sha256_texts(texts))
            step = run.passport_step({"bytes": work.sizes, **work.counts})
            passport = encoder.passport.with_step(step).with_records(report.records_of(encoder.passport.name))
            passport.write(unfinished)
            _write_card(encoder, passport, unfinished, work, run.out.name)
    name = encoder.name if isinstance(model, TorchEncoder) else str(model)
    return replace(report, records=tuple(report.records_of(name)), summary=step.summary, seconds=run.seconds)


def _write_card(encoder: TorchEncoder, passport: Passport, folder: Path, work: EncoderFiles, name: str) -> None:
    """Write the model card, with the lines by which other programs read the folder."""
    sentence = SentenceConfig.read(folder)
    facts = {**facts_of(encoder), "bytes": work.sizes.get("int8", work.sizes["fp32"])}
    family = str(encoder.model.config.model_type)
    clients = snippets(
        name, sentence, encoder.dimension, [FILES[kind] for kind in work.sizes], int8=work.scheme,
        writer=FAMILIES[family_of(family)] in ("decoder", "encoder-decoder"),
    )  # fmt: skip
    model_card(
        passport, facts, sentence, loader="slonik.load (onnxruntime, no torch)", limits=limits_of(family), path=name,
        clients=clients, folder=folder,
    )  # fmt: skip


@dataclass
class EncoderFiles:
    """One export on its way: the graph in torch, the files written so far, and what was measured on them."""

    encoder: TorchEncoder
    folder: Path
    scheme: Int8
    corpus: list[str]
    standard: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    agreement: dict[str, parity.Agreement] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    in_codes: dict[str, InCodes] = field(default_factory=dict)
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
        quantised = deepcopy(self.model)
        self.counts = quantise(quantised, self.scheme, ranges, found=self.in_codes)
        self._write(quantised, "int8", self.scheme)
        self._agree("int8", self.scheme)

    def fp16(self) -> None:
        """Write the fp16 file and hold it to fp32."""
        self._write(to_half(self.model), "fp16", "fp16")
        self._agree("fp16", "fp16")

    def speed(self) -> Speed:
        """Time torch and the files on the same texts."""
        return time_files(self.sessions, self.graph, self.rows)

    def report(self, out: Path, speed: Speed | None, judged: tuple[Record, ...]) -> ExportReport:
        """Gather everything that was measured."""
        return ExportReport(
            checkpoint=out, sizes=self.sizes, difference=self.difference, agreement=self.agreement, speed=speed,
            counts=self.counts, hashes=self.hashes, scheme=self.scheme, judged=judged,
            limits=limits_of(str(self.encoder.model.config.model_type)),
        )  # fmt: skip

    def _agree(self, name: str, precision: str) -> None:
        vectors = parity.vectors_of(self.sessions[name], self.rows)
        self.agreement[name] = parity.agreement(self.vectors, vectors)
        parity.check_agreement(self.encoder.name, precision, self.agreement[name])

    def _write(self, model: onnx.ModelProto, name: str, precision: str) -> None:
        path = self.folder / "onnx" / FILES[name]
        metadata = {"precision": precision, "max_length": self.encoder.max_length, "facts": facts_of(self.encoder)}
        self.sizes[name] = write_graph(model, path, metadata, fused=name == "int8" and not self.standard)
        self.hashes[name] = sha256_file(path)
        self.sessions[name] = open_session(path, threads=1)
