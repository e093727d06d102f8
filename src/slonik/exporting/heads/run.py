"""A checkpoint with a head to a folder that classifies, scores, answers or tags without torch.

    onnx/model.onnx, onnx/model_quantized.onnx, onnx/model_fp16.onnx, tokenizer.json, config.json with the labels,
    task.json, passport.json, README.md; of a CRF chain.safetensors, of a tagger with a list of names that list.

The folder appears whole or not at all, and only when every file in it holds its floors. Taggers over word vectors and
over hand-made features have no such graph and are refused, as is a head that reads by an encoder-decoder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.core.progress import shown
from slonik.core.protocols import LongTexts
from slonik.core.run import Announce, Run, say, silent
from slonik.exporting.companions import write_dockerfile, write_tokenizer
from slonik.exporting.files import FILES, facts_of, write_graph
from slonik.exporting.fusions import optimise
from slonik.exporting.given import calibration, check_source
from slonik.exporting.heads import parity
from slonik.exporting.heads.examples import Example, examples_of, feed_of
from slonik.exporting.heads.graph import HeadGraph, check_family, head_to_onnx
from slonik.exporting.heads.report import HeadReport
from slonik.exporting.parity import parity_texts
from slonik.exporting.precision import quantise, ranges_of, to_half
from slonik.exporting.report import Speed, time_in_turns
from slonik.models.heads.crf import LinearChainCrf
from slonik.models.kinds import kind_of
from slonik.models.task_model import TaskModel, load_task_model
from slonik.reporting.model_card import model_card
from slonik.runtime.head_session import HEAD_KEY, HeadSession, head_facts
from slonik.runtime.tagging.calibration import CALIBRATION_FILE
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.names import NAMES_FILE
from slonik.runtime.tagging.onnx_tagger import CHAIN_FILE
from slonik.text import TAGGER_FILE
from slonik.text.lines import read_json
from slonik.text.pairs import PairTokenizer
from slonik.text.task_rows import chosen_way

Int8 = Literal["dynamic", "static", "none"]
_COPIED = ("tokenizer_config.json", "special_tokens_map.json")
_TORCH_EXAMPLES = 96  # torch is slow, and a graph that is wrong is wrong on a few
_TIMED = 12
_NAMES = {
    "single": "classifier", "multi": "classifier of any number", "number": "scorer", "choice": "chooser",
    "answer": "finder of spans", "tags": "tagger",
}  # fmt: skip


def head_of(model: Any) -> TaskModel | None:
    """The model with a head that `model` is or names; None where it has none.

    Raises:
        SlonikError: it has one that cannot be exported.
    """
    found = model if isinstance(model, TaskModel) else getattr(model, "model", None)
    if isinstance(found, TaskModel):
        return _with_graph(found)
    if not isinstance(model, str | Path):
        return None
    kind = kind_of(model)
    if kind.folder is not None and (kind.folder / TAGGER_FILE).is_file():
        what = str(read_json(kind.folder / TAGGER_FILE).get("kind", ""))
        words = {"crf": "a CRF over hand-made features", "bilstm": "a BiLSTM over word vectors"}.get(what, "a tagger")
        raise SlonikError(
            f"{model} is {words}, which has no ONNX graph: run it with slonik tag or slonik serve, or distil it into "
            "an encoder (slonik finetune MODEL --task ner --teacher ...)"
        )
    if kind.name not in ("head", "task", "tagger"):
        return None
    loaded = load_task_model(kind.folder or model, device="cpu")
    loaded.name = str(model)
    return _with_graph(loaded)


def _with_graph(model: TaskModel) -> TaskModel:
    """The model, if its head has a graph."""
    if model.config.kind == "spans":
        raise SlonikError(
            f"{model.name} scores stretches of words, for which there is no ONNX graph: run it with slonik tag or "
            "slonik serve, or export its encoder alone (--as encoder)"
        )
    return model


def export_head(
    model: TaskModel,
    out: str | Path,
    *,
    int8: Int8 = "dynamic",
    fp16: bool = False,
    standard: bool = False,
    docker: bool = False,
    corpus: str | Path | Iterable[str] | None = None,
    long_texts: LongTexts | None = None,
    measure_speed: bool = True,
    overwrite: bool = False,
    progress: bool = False,
    announce: Announce | None = None,
) -> HeadReport:
    """Export a model with a head to the folder `out`, which appears whole or not at all.

    The arguments are those of `slonik.exporting.run.export`.

    Raises:
        SlonikError: a family or a head that cannot be exported, a file under its floors, a folder that cannot be
            written, or one that holds the checkpoint itself.
    """
    check_family(model, model.name)
    if long_texts is not None:
        if model.config.target == "tags":
            raise SlonikError(f"{model.name} tags words and reads long texts in windows: leave long_texts out")
        way = chosen_way(long_texts, model.config)
        named = model.name
        model = TaskModel(model.encoder, model.head, model.config.model_copy(update={"long_texts": way}))
        model.name = named
    said = announce or (say if progress else silent)
    reads = [model.encoder.source] + ([corpus] if isinstance(corpus, str | Path) else [])
    with shown(progress), Run(
        out, command="export", config={"int8": int8, "fp16": fp16, "standard": standard}, announce=said, reads=reads,
        overwrite=overwrite,
    ) as run:  # fmt: skip
        check_source(model.encoder, run.out)
        texts = calibration(corpus)
        with run.result() as unfinished:
            work = _HeadWork(model.eval(), unfinished, int8, texts, standard)
            write_companions(model, unfinished)
            run.announce("fp32 ...")
            work.fp32()
            if int8 != "none":
                run.announce(f"int8 ({int8}) ...")
                work.int8()
            if fp16:
                run.announce("fp16 ...")
                work.fp16()
            if docker:
                write_dockerfile(unfinished)
            report = work.report(run.out, work.speed() if measure_speed else None)
            run.input("parent", work.weights)
            run.input("calibration", sha256_texts(texts))
            step = run.passport_step({"bytes": work.sizes, **work.counts})
            passport = model.encoder.passport
            passport = passport.with_step(step).with_records(report.records_of(passport.name))
            passport.write(unfinished)
            model_card(
                passport, {**facts_of(model.encoder), "bytes": work.sizes.get("int8", work.sizes["fp32"])},
                model.encoder.sentence, loader="slonik.load (onnxruntime, no torch)", limits=report.limits,
                path=run.out.name, folder=unfinished, task=model.config,
            )  # fmt: skip
    return replace(report, records=tuple(report.records_of(model.name)), summary=step.summary, seconds=run.seconds)


def write_companions(model: TaskModel, folder: Path) -> None:
    """Write task, configuration with labels, tokenizer, transitions and names of `model` into `folder`."""
    source = model.encoder.source
    assert source is not None
    config = model.config
    for name in _COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    said = read_json(source / "config.json")
    if config.labels:
        said["id2label"] = {str(number): label for number, label in enumerate(config.labels)}
        said["label2id"] = {label: number for number, label in enumerate(config.labels)}
    said.pop("auto_map", None)  # its code needs torch, and weights that are not here
    write_json(folder / "config.json", said)
    write_tokenizer(
        model.encoder.tokenizer, folder, max_length=model.max_length, pad_id=model.encoder.pad_id,
        lower_case=model.encoder.sentence.lower_case,
    )  # fmt: skip
    config.write(folder)
    if (chain := chain_of(model)) is not None and chain.trained:
        chain.write(folder / CHAIN_FILE)
    if config.head.get("names"):
        shutil.copyfile(source / NAMES_FILE, folder / NAMES_FILE)
    if (source / CALIBRATION_FILE).is_file():
        shutil.copyfile(source / CALIBRATION_FILE, folder / CALIBRATION_FILE)


def chain_of(model: TaskModel) -> Chain | None:
    """What a tagger's scores are read with; None for every other head."""
    if model.config.target != "tags":
        return None
    crf = getattr(model.head, "crf", None)
    return crf.chain() if isinstance(crf, LinearChainCrf) else Chain.of(model.config.outputs)


@dataclass
class _HeadWork:
    """One export on its way: the graph in torch, the files written so far, and what was measured on them."""

    model: TaskModel
    folder: Path
    scheme: Int8
    corpus: list[str]
    standard: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    agreement: dict[str, parity.Agreement] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, HeadSession] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph = HeadGraph(self.model).eval()
        self.config, self.weights = self.model.config, self.model.weights_hash()
        self.chain = chain_of(self.model)
        self.pairs = PairTokenizer(self.model.encoder.tokenizer, self.model.max_length)
        self.pairs.pad_id = self.model.encoder.pad_id
        self.examples = self._examples(parity_texts())

    def fp32(self) -> None:
        """Write the fp32 file and hold it to torch."""
        self.onnx = optimise(head_to_onnx(self.graph, self.model.max_length))
        self._write(self.onnx, "fp32", "fp32")
        self.outputs = self.sessions["fp32"].run(self.examples, self.pairs.pad_id)
        some = slice(None, None, max(1, len(self.examples) // _TORCH_EXAMPLES))
        examples = self.examples[some]
        expected = parity.in_torch(self.graph, examples)
        found = self._compared(examples, expected, self.outputs[some])
        parity.check_outputs(self.model.name, found.outputs)
        self.agreement["fp32"] = found

    def int8(self) -> None:
        """Write the int8 file and hold it to fp32."""
        assert self.scheme != "none"
        signature = self.graph.signature
        examples = self._examples(self.corpus)
        feeds = (feed_of(one, signature.inputs, several=signature.several) for one in examples)
        self.hashes["calibration"] = sha256_texts(self.corpus)
        quantised = deepcopy(self.onnx)
        self.counts = quantise(quantised, self.scheme, ranges_of(self.onnx, feeds))
        self._write(quantised, "int8", self.scheme)
        self._agree("int8", self.scheme)

    def fp16(self) -> None:
        """Write the fp16 file and hold it to fp32."""
        self._write(to_half(self.onnx), "fp16", "fp16")
        self._agree("fp16", "fp16")

    def speed(self) -> Speed:
        """Time torch and the files on the same examples, one at a time."""
        signature = self.graph.signature
        chosen = self.examples[:: max(1, len(self.examples) // _TIMED)][:_TIMED]
        feeds = [feed_of(one, signature.inputs, several=signature.several) for one in chosen]

        def in_torch(feed: Example) -> object:
            with torch.inference_mode():
                tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feed.items()}
                return self.graph(**tensors)

        def in_session(session: HeadSession, feed: Example) -> object:
            return session.session.run(list(session.outputs), feed)

        runs: dict[str, Callable[[Any], object]] = {"torch": in_torch}
        return time_in_turns(runs | {name: partial(in_session, one) for name, one in self.sessions.items()}, feeds)

    def report(self, out: Path, speed: Speed | None) -> HeadReport:
        """Gather everything that was measured."""
        labels = f" of {len(self.config.labels)} labels" if self.config.labels else ""
        extra = [name for name in self.graph.signature.inputs if name in ("spans", "names")]
        limits = (
            (f"the files take {' and '.join(extra)} beside the tokens, which slonik makes and other clients do not",)
            if extra
            else ()
        )
        return HeadReport(
            checkpoint=out, head=_NAMES[self.config.target] + labels, outputs=self.graph.signature.outputs,
            sizes=self.sizes, agreement=self.agreement, speed=speed, counts=self.counts, hashes=self.hashes,
            scheme=self.scheme, limits=limits,
        )  # fmt: skip

    def _examples(self, texts: list[str]) -> list[Example]:
        """Examples of texts, and of a few that are longer than the model takes."""
        assert self.model.encoder.source is not None
        long = [" ".join(texts[start : start + 40]) for start in (0, 40)]
        return examples_of(self.config, self.pairs, self.model.encoder.source, [*texts, *long])

    def _agree(self, name: str, precision: str) -> None:
        found = self._compared(self.examples, self.outputs, self.sessions[name].run(self.examples, self.pairs.pad_id))
        self.agreement[name] = found
        parity.check_labels(self.model.name, precision, found)

    def _compared(self, examples: list[Example], left: parity.Outputs, right: parity.Outputs) -> parity.Agreement:
        gap = parity.output_gap(examples, left, right, words=self.chain is not None)
        before, after = (parity.answered(self.config, self.chain, examples, outputs) for outputs in (left, right))
        return parity.agreement(self.config, before, after, gap)

    def _write(self, model: onnx.ModelProto, name: str, precision: str) -> None:
        path = self.folder / "onnx" / FILES[name]
        rows = self.model.transformer.get_input_embeddings().weight.shape[0]
        metadata = {
            "precision": precision, "max_length": self.model.max_length, "facts": facts_of(self.model.encoder),
            "vocabulary": int(rows), HEAD_KEY: head_facts(self.config, self.weights),
            "alone": bool(getattr(self.model.head, "one_by_one", False)),
        }  # fmt: skip
        self.sizes[name] = write_graph(model, path, metadata, fused=name == "int8" and not self.standard)
        self.hashes[name] = sha256_file(path)
        self.sessions[name] = HeadSession(self.folder, file=path.name, threads=1)
