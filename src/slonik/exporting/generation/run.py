"""A checkpoint that writes to a folder that writes without torch: graphs with a cache, int8, parity, speed, companions.

    onnx/model.onnx, onnx/model_quantized.onnx                     of a decoder
    onnx/encoder_model.onnx, onnx/decoder_model_merged.onnx, ...   of an encoder-decoder, each _quantized too
    tokenizer.json, config.json, generation_config.json, passport.json

The folder appears whole or not at all, and only when every file in it holds its floors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.files import write_json
from slonik.core.hashing import sha256_file, sha256_texts
from slonik.core.progress import shown
from slonik.core.run import Announce, Run, say, silent
from slonik.exporting.companions import write_dockerfile, write_tokenizer
from slonik.exporting.files import write_graph
from slonik.exporting.generation import parity
from slonik.exporting.generation.graph import check_family, decoder_graph, encoder_graph, with_defaults
from slonik.exporting.generation.int8 import quantise_tokenwise
from slonik.exporting.generation.report import SPEED_TOKENS, GenerationReport
from slonik.exporting.given import calibration
from slonik.exporting.precision import ranges_of
from slonik.exporting.report import Speed, time_in_turns
from slonik.models.generation import TextGenerator, load_generator
from slonik.models.kinds import Kind, is_checkpoint, kind_of, resolve
from slonik.models.language_model import LanguageModel
from slonik.runtime.generator import load
from slonik.runtime.writing import Writer
from slonik.text import TASK_FILE
from slonik.text.lines import read_json
from slonik.text.prompts import GENERATION_FILE
from slonik.text.task_config import TaskConfig

ENDINGS = {"fp32": ".onnx", "int8": "_quantized.onnx"}
_COPIED = ("tokenizer_config.json", "special_tokens_map.json", TASK_FILE)
_TOLD = (
    "model_type", "vocab_size", "is_encoder_decoder", "max_position_embeddings", "n_positions", "bos_token_id",
    "eos_token_id", "pad_token_id", "decoder_start_token_id",
)  # fmt: skip
_TIMED = 4  # prompts
Role = Literal["auto", "encoder", "generator"]


class GenerationWork:
    """One export on its way: the graphs, the files written so far, and what was measured on them.

    Args:
        writer: what is exported, in torch.
        source: the folder of its checkpoint.
        folder: to be filled.

    Raises:
        SlonikError: a family that cannot be exported to write.
    """

    def __init__(self, writer: TextGenerator, source: Path, folder: Path) -> None:
        check_family(writer.model, writer.name)
        self._writer, self._source, self._folder = writer, source, folder
        decoder = "decoder_model_merged" if writer.two_stacks else "model"
        self._graphs: dict[str, onnx.ModelProto] = {}
        self._decoder = decoder
        self._rows = parity.prompts_of(writer)
        self._likeness: dict[str, parity.Likeness] = {}
        self._writers: dict[str, Writer] = {}
        self._sizes: dict[str, int] = {}
        self._hashes: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def companions(self) -> None:
        """Write configuration and tokenizer; the files are read with them."""
        config = read_json(self._source / "config.json")
        known = {name: value for name, value in self._writer.model.config.to_dict().items() if name in _TOLD}
        write_json(self._folder / "config.json", {**{k: v for k, v in known.items() if v is not None}, **config})
        if (self._source / GENERATION_FILE).is_file():
            shutil.copyfile(self._source / GENERATION_FILE, self._folder / GENERATION_FILE)
        else:
            told = self._writer.model.generation_config.to_diff_dict()
            write_json(self._folder / GENERATION_FILE, told)
        for name in _COPIED:
            if (self._source / name).is_file():
                shutil.copyfile(self._source / name, self._folder / name)
        writer = self._writer
        write_tokenizer(writer.tokenizer, self._folder, max_length=writer.max_tokens, pad_id=writer.facts.pad)

    def fp32(self) -> None:
        """Write the fp32 files and hold them to torch."""
        model = self._writer.model
        if self._writer.two_stacks:
            self._graphs["encoder_model"] = encoder_graph(model)
        self._graphs[self._decoder] = decoder_graph(model)
        self._write("fp32", self._graphs)
        parity.check_writing(self._writer.name, self._likeness["fp32"])

    def int8(self, corpus: Sequence[str]) -> None:
        """Write the int8 files and hold them to torch."""
        self._hashes["calibration"] = sha256_texts(corpus)
        made = {}
        for stem, graph in self._graphs.items():
            made[stem] = deepcopy(graph)
            ranges = ranges_of(graph, self._feeds(stem, corpus))
            counts = quantise_tokenwise(made[stem], ranges)
            self._counts = {name: self._counts.get(name, 0) + count for name, count in counts.items()}
        self._write("int8", made)
        parity.check_reduced(self._writer.name, "dynamic", self._likeness["int8"])

    def speed(self) -> Speed:
        """Time torch and the files as they write after the same prompts."""
        writers = {"torch": self._writer, **self._writers}
        return time_in_turns({name: partial(_write_some, one) for name, one in writers.items()}, self._rows[:_TIMED])

    def report(self, out: Path, speed: Speed | None) -> GenerationReport:
        """Gather everything that was measured."""
        return GenerationReport(
            checkpoint=out, sizes=self._sizes, likeness=self._likeness, speed=speed, counts=self._counts,
            hashes=self._hashes,
        )  # fmt: skip

    @property
    def summary(self) -> dict[str, Any]:
        """What the passport says of the files."""
        return {"bytes": self._sizes, **self._counts}

    def _write(self, precision: str, graphs: dict[str, onnx.ModelProto]) -> None:
        self._sizes[precision] = 0
        for stem, graph in graphs.items():
            name = stem + ENDINGS[precision]
            path = self._folder / "onnx" / name
            metadata = {"precision": precision, "max_length": self._writer.max_tokens, "facts": self._facts()}
            self._sizes[precision] += write_graph(with_defaults(deepcopy(graph)), path, metadata)
            self._hashes[f"{precision} {stem}" if self._writer.two_stacks else precision] = sha256_file(path)
        self._writers[precision] = load(self._folder, file=self._decoder + ENDINGS[precision], threads=1)
        self._likeness[precision] = parity.likeness(self._writer, self._writers[precision], self._rows)

    def _facts(self) -> dict[str, Any]:
        model = self._writer.model
        return {
            "family": str(model.config.model_type),
            "parameters": sum(one.numel() for one in model.parameters()),
            "layers": int(model.config.num_hidden_layers),
            "hidden": int(model.config.hidden_size),
            "vocabulary": int(model.config.vocab_size),
        }

    def _feeds(self, stem: str, corpus: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Inputs of one graph for each calibration text: a decoder reads it whole, with an empty past."""
        writer = self._writer
        shapes = {item.name: item.type.tensor_type.shape.dim for item in self._graphs[stem].graph.input}
        empty = {
            name: np.zeros((1, shape[1].dim_value, 0, shape[3].dim_value), dtype=np.float32)
            for name, shape in shapes.items()
            if name.startswith("past_key_values.")
        }
        for text in corpus:
            ids = np.array([writer.prompts.ids(text, min(writer.max_tokens - 1, writer.max_length))], dtype=np.int64)
            ones = np.ones_like(ids)
            if stem == "model":
                places = np.arange(ids.shape[1])[None]
                feed = {"input_ids": ids, "attention_mask": ones, "position_ids": places, **empty}
            elif stem == "encoder_model":
                feed = {"input_ids": ids, "attention_mask": ones}
            else:
                feed = {
                    "input_ids": np.concatenate([[[writer.facts.start]], ids[:, :-1]], axis=1),
                    "encoder_attention_mask": ones, "encoder_hidden_states": self._states(ids),
                    "decoder_attention_mask": np.ones((1, 1), dtype=np.int64), **empty,
                }  # fmt: skip
            if stem != "encoder_model":
                feed["num_logits_to_keep"] = np.array(1, dtype=np.int64)
            yield feed

    def _states(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        _, cache = self._writers["fp32"].read([ids[0].tolist()])
        states: NDArray[np.float32] = cache.hidden
        return states


def _write_some(writer: Writer, ids: list[int]) -> None:
    """Greedy tokens after one prompt, always as many."""
    logits, cache = writer.read([ids])
    for _ in range(SPEED_TOKENS - 1):
        logits, cache = writer.step([int(logits[0].argmax())], cache)


def writes(model: Any, role: str) -> bool:
    """Whether an export of `model` in a role ("auto", "encoder", "generator") is one to write.

    Raises:
        SlonikError: an unknown role, or a generator is asked of what does not write.
    """
    if role not in get_args(Role):
        raise SlonikError(f"--as is {role!r}: use {', '.join(get_args(Role))}")
    if role == "encoder":
        return False
    if isinstance(model, Writer | LanguageModel):
        raise SlonikError(f"{model.name} lies in memory only: save it, then export the folder")
    kind = kind_of(model) if isinstance(model, str | Path) and is_checkpoint(model) else None
    if kind is not None and kind.name == "exported" and kind.writes:
        raise SlonikError(f"{model} is exported already: export the checkpoint that it was made from")
    found = kind is not None and _has_words(kind)
    if role == "generator" and not found:
        raise SlonikError(f"{model} does not write texts: leave --as generator out")
    return found


def _has_words(kind: Kind) -> bool:
    if kind.name == "task" and kind.in_words and kind.folder is not None:
        return TaskConfig.read(kind.folder).target == "text"
    return kind.writes and kind.name != "exported"


def export_generator(
    model: str | Path,
    out: str | Path,
    *,
    int8: str = "dynamic",
    fp16: bool = False,
    docker: bool = False,
    corpus: str | Path | Iterable[str] | None = None,
    measure_speed: bool = True,
    refused: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    announce: Announce | None = None,
) -> GenerationReport:
    """Export a decoder or encoder-decoder with its head to the folder `out`, which appears whole or not at all.

    The arguments are those of `slonik.exporting.run.export`; `refused`: an option for sentence vectors that was given.

    Raises:
        SlonikError: a family that cannot be exported to write, an option that would do nothing, files under their
            floors, a folder that cannot be written, or one that holds the checkpoint itself.
    """
    refused = "--int8 static" if int8 == "static" else "--fp16" if fp16 else refused
    if refused is not None:
        raise SlonikError(
            f"{refused} is for encoders, and {model} is exported to write: leave it out, or export with --as encoder"
        )
    source = resolve(model)
    said = announce or (say if progress else silent)
    reads = [source, *([corpus] if isinstance(corpus, str | Path) else [])]
    config = {"int8": int8, "as": "generator"}
    with shown(progress), Run(
        out, command="export", config=config, announce=said, reads=reads, overwrite=overwrite
    ) as run:  # fmt: skip
        if run.out.resolve() in (source.resolve(), *source.resolve().parents):
            raise SlonikError(f"{out} holds the checkpoint itself, which an export would replace: choose another --out")
        texts = calibration(corpus)
        writer = load_generator(model, device="cpu")
        language = writer.language
        assert language is not None
        with run.result() as unfinished:
            work = GenerationWork(writer, source, unfinished)
            work.companions()
            run.announce("fp32 ...")
            work.fp32()
            if int8 != "none":
                run.announce(f"int8 ({int8}) ...")
                work.int8(texts)
            speed = work.speed() if measure_speed else None
            if docker:
                write_dockerfile(unfinished)
            report = work.report(run.out, speed)
            run.input("parent", language.weights_hash())
            run.input("calibration", sha256_texts(texts))
            step = run.passport_step(work.summary)
            passport = language.passport.with_step(step).with_records(report.records_of(language.passport.name))
            passport.write(unfinished)
    return replace(report, records=tuple(report.records_of(str(model))), summary=step.summary, seconds=run.seconds)
