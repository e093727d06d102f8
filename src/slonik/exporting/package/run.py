"""A model to a distribution that ships it: int8 for onnxruntime and torch from one file of numbers, licences, metadata.

An encoder goes the way of `slonik export` (the same int8 file, held to fp32); then its numbers move into one file, and
what both onnxruntime and torch make of that file is held to what they gave before. A static model is copied. The
distribution appears whole or not at all. Its card is written from what its passport has been told so far; `slonik card`
measures more and writes it again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slonik.core.errors import SlonikError
from slonik.core.files import copy_folder
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.exporting import parity
from slonik.exporting.companions import write_companions
from slonik.exporting.files import FILES
from slonik.exporting.package.card import write_card
from slonik.exporting.package.distribution import check_names, model_folder, write_distribution
from slonik.exporting.package.licences import origins_of
from slonik.exporting.package.weights import PackedWeights, pack, parameters_as_exported
from slonik.exporting.parity import Agreement, agreement, check_agreement, vectors_of
from slonik.exporting.run import EncoderFiles
from slonik.exporting.torch_graph import SentenceGraph
from slonik.models import TorchEncoder, load
from slonik.models.describe import describe_folder
from slonik.models.embedded import packed
from slonik.models.kinds import kind_of
from slonik.reporting.table import Table
from slonik.runtime.session import open_session

SUITE = "package"
_TORCH_TEXTS = 100
_NUMBERS = (".safetensors", ".onnx")
_FACTS = (
    "model_type", "parameters", "embedding_parameters", "encoder_parameters", "layers", "hidden", "heads", "head_size",
    "ffn", "vocab", "dimension", "flops_per_text", "text_tokens", "pieces", "precision",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PackageReport(Result):
    """A distribution in `checkpoint`.

    Attributes:
        name, version: of the distribution.
        kind: "encoder" or "static".
        folder: the model's own, inside.
        sizes: bytes of every file of the model, by its path.
        agreement: cosines of "int8" and of "torch", the weights made of the same file, against the model before.
        own: parameters that lie in the file beside the graph's numbers.
    """

    name: str
    version: str
    kind: str
    folder: Path
    sizes: dict[str, int]
    agreement: dict[str, Agreement]
    own: tuple[str, ...] = ()

    def table(self) -> Table:
        """The model's files with their sizes."""
        rows = [(name, f"{size / 1e6:.2f}") for name, size in self.sizes.items() if size >= 50_000]
        rest = sum(size for size in self.sizes.values() if size < 50_000)
        rows += [("the rest", f"{rest / 1e6:.2f}"), ("all", f"{sum(self.sizes.values()) / 1e6:.2f}")]
        return Table.of(f"{self.name} {self.version} in {self.checkpoint}", ("file", "MB"), rows)

    def sentences(self) -> list[str]:
        """What is said under the table."""
        said = [
            f"{name} against the model before: mean cosine {one.mean_cosine:.5f}, lowest {one.min_cosine:.5f} "
            f"({one.texts} texts)"
            for name, one in self.agreement.items()
        ]
        if self.own:
            said.append(f"stored beside the graph's numbers, which do not hold them: {', '.join(self.own[:5])}")
        return [*said, f"install it: pip install {self.checkpoint}", f'open it: slonik.load("embedded:{self.name}")']


def package(
    model: TorchEncoder | str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    version: str = "0.1.0",
    licences: Mapping[str, str] | None = None,
    about: str = "",
    overwrite: bool = False,
    progress: bool = False,
    announce: Announce | None = None,
) -> PackageReport:
    """Make the distribution `out` of an encoder or of a static model.

    Args:
        model: a checkpoint by folder, hub id or `embedded:NAME`, a loaded encoder that lies in a folder, or the folder
            of a static model.
        out: the folder of the distribution, for example models/slonik-mini-ru; it appears whole or not at all.
        name: of the distribution and of the model; None = the name of `out`.
        version: of the distribution.
        licences: model -> "MIT" or "Apache-2.0", of those that it was made from and its passport does not name.
        about: Markdown for the card: how it was made, from which data under which licences, how to make it again.
        overwrite: replace a folder that is there.
        progress: say on standard error what is being done.
        announce: called with a line for each part of the work instead.

    Raises:
        SlonikError: a name or version that is none, a model that cannot be shipped (one with a head, one that writes,
            an exported folder without weights), a lineage without licences, a file under its floor, a full disk.
    """
    called = name or Path(out).name
    check_names(called, version)
    said = announce or (say if progress else silent)
    source = model.source if isinstance(model, TorchEncoder) else model
    kind = kind_of(source) if source is not None else None
    if kind is not None and kind.name not in ("encoder", "static"):
        why = "make it of the checkpoint" if kind.name == "exported" else "sentence encoders and static models are"
        raise SlonikError(f"{source} is {kind}, which cannot be made a package: {why}")
    asked = {"name": called, "version": version, "licences": dict(licences or {})}
    with shown(progress), Run(
        out, command="package", config=asked, announce=said, reads=[source], overwrite=overwrite
    ) as run, run.result() as unfinished:  # fmt: skip
        folder = model_folder(unfinished, called)
        if kind is not None and kind.name == "static":
            assert kind.folder is not None
            made = _static(kind.folder, folder)
        else:
            encoder = model if isinstance(model, TorchEncoder) else load(model, device="cpu")
            made = _encoder(encoder, folder, run)
        origins = origins_of(made.passport, licences)
        run.inputs["parent"] = made.parent
        step = run.passport_step(made.summary(folder), license=" AND ".join(sorted({one.licence for one in origins})))
        passport = made.passport.with_step(step, name=called).with_records(made.records(called))
        passport.write(folder)
        facts = {key: made.facts[key] for key in _FACTS if made.facts.get(key) is not None}
        write_distribution(
            unfinished, called, version, kind=made.kind, origins=origins,
            facts=facts | {"bytes": sum(size for file, size in _sizes(folder).items() if file.endswith(_NUMBERS))},
        )  # fmt: skip
        write_card(unfinished, about=about)
    return PackageReport(
        checkpoint=run.out, records=passport.records, summary=step.summary, seconds=run.seconds, name=called,
        version=version, kind=made.kind, folder=model_folder(run.out, called),
        sizes=_sizes(model_folder(run.out, called)), agreement=made.agreement, own=made.own,
    )  # fmt: skip


@dataclass(frozen=True)
class _Made:
    """A model's folder, filled."""

    kind: str
    passport: Passport
    parent: str
    facts: Mapping[str, Any]
    agreement: dict[str, Agreement]
    own: tuple[str, ...] = ()
    weights: PackedWeights | None = None

    def summary(self, folder: Path) -> dict[str, Any]:
        return {"kind": self.kind, "bytes": _sizes(folder)}

    def records(self, name: str) -> list[Record]:
        return [
            Record(suite=SUITE, task=task, model=name, metric=metric, value=getattr(one, metric), n=one.texts)
            for task, one in self.agreement.items()
            for metric in ("mean_cosine", "min_cosine")
        ]


def _static(source: Path, folder: Path) -> _Made:
    copy_folder(source, folder)
    for name in ("README.md", "distribution.json", "report.html", "records.json"):  # of the run that made it
        (folder / name).unlink(missing_ok=True)
    found = describe_folder(source)
    return _Made("static", found.passport, str(found.facts["weights_hash"]), found.facts, {})


def _encoder(encoder: TorchEncoder, folder: Path, run: Run) -> _Made:
    """Export, pack, and hold both readings of the packed file to the model."""
    if encoder.source is None:
        raise SlonikError(
            f"{encoder.name} lies in memory only: save it with slonik.models.save, then make a package of the folder"
        )
    encoder.say_assumed()
    onnx_folder = folder / "onnx"
    onnx_folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work = EncoderFiles(encoder, Path(temporary), "dynamic", parity.calibration_texts())
        run.announce("fp32 ...")
        work.fp32()
        run.announce("int8 ...")
        work.int8()
        before = vectors_of(work.sessions["int8"], work.rows)
        path = onnx_folder / FILES["int8"]
        shutil.copyfile(Path(temporary) / "onnx" / FILES["int8"], path)
    run.announce("one file of numbers for onnxruntime and torch ...")
    weights = pack(work.model, path, work.in_codes, parameters_as_exported(encoder.model))
    after = vectors_of(open_session(path, threads=1), work.rows)
    if not np.array_equal(before, after):
        raise SlonikError(
            f"the int8 file of {encoder.name} gives other vectors with its numbers in a file of their own (by "
            f"{float(np.abs(after - before).max()):.1e}): nothing is written; please report the model's family"
        )
    write_companions(encoder, folder)
    run.announce("torch from the same file ...")
    in_torch = _torch_agreement(encoder, folder, work)
    check_agreement(f"{encoder.name} in torch", "dynamic", in_torch)
    facts = {**encoder.describe(), "dimension": encoder.dimension}
    found = {"int8": work.agreement["int8"], "torch": in_torch}
    return _Made("encoder", encoder.passport, encoder.weights_hash(), facts, found, weights.own, weights)


def _torch_agreement(encoder: TorchEncoder, folder: Path, work: EncoderFiles) -> Agreement:
    """Cosines of the checkpoint that is made of the packed file to the model, both in torch."""
    rows = work.rows[:: max(1, len(work.rows) // _TORCH_TEXTS)]
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        encoder.passport.write(folder)
        packed.build(folder, encoder.name, Path(temporary))
        unpacked = load(temporary, device="cpu")
        graph = SentenceGraph(unpacked.model, unpacked.sentence).eval()
        return agreement(_in_torch(work.graph, rows), _in_torch(graph, rows))


def _in_torch(graph: SentenceGraph, rows: list[list[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    with torch.inference_mode():
        ids = [torch.tensor([row]) for row in rows]
        return np.concatenate([graph(one, torch.ones_like(one))[1].numpy() for one in ids])


def _sizes(folder: Path) -> dict[str, int]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
