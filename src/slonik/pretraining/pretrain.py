"""Train a model from nothing: corpus -> tokenizer -> tokens -> model -> loop -> checkpoint with its passport.

Each step is done once and kept beside the checkpoint; the same command after a crash goes on, the training from its
last saved step. Under torchrun the first process prepares, all train, the first writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedModel

from slonik.compression.result import Announce, work_folder
from slonik.core.errors import SlonikError
from slonik.core.files import new_folder
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.passport import Passport, Step
from slonik.core.records import Record
from slonik.core.run import Steps
from slonik.evaluation.statistics import Ratio, interval, replicates, value_of
from slonik.models.checkpoint_files import read_tensors
from slonik.models.fresh import build
from slonik.models.generation import TextGenerator
from slonik.models.loading import quiet_transformers
from slonik.models.sampling import SamplingConfig
from slonik.pretraining.batches import loader_of, objective_of, pack_length, sequences_of
from slonik.pretraining.bits_per_byte import HeldOutBits, TextBits
from slonik.pretraining.config import PretrainConfig
from slonik.pretraining.corpus import PreparedCorpus, check_corpus, corpus_key, prepare_corpus
from slonik.pretraining.costs import SUITE, run_costs
from slonik.pretraining.tokenizer import Vocabulary, given_tokenizer, make_tokenizer, wanted_sentinels
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tokenizing import write_tokenizer
from slonik.train.checkpoints import load_weights, read_checkpoint
from slonik.train.loop import Sample, run
from slonik.train.processes import Processes
from slonik.train.run_state import RunSummary

COMMAND = "pretrain"
_RECIPE = "recipe"
_WRITERS = ("gpt2", "t5", "fred-t5")

T = TypeVar("T")


@dataclass(frozen=True)
class Pretrained:
    """What came out.

    Attributes:
        out: the checkpoint. records: bits per byte on held-out texts, with its interval; in the first process only.
        summary: what the training did.
    """

    out: Path
    records: list[Record]
    summary: dict[str, Any]


def run_pretrain(config: PretrainConfig, announce: Announce = lambda line: None) -> Pretrained:
    """Train the recipe's model and write it to `config.out`; the same call after a crash goes on.

    Raises:
        SlonikError: a corpus that is missing, empty, too short or in another language; a tokenizer without the tokens
            that the objective needs; `out` is taken by something else; what the loop raises.
    """
    out, processes = Path(config.out), Processes(config.train.device)
    said: Announce = announce if processes.main else lambda line: None
    done = finished_before(out, config)
    if done is not None:
        said(f"{out} is there already, made by this recipe: nothing to do")
        return Pretrained(out, list(done.records) if processes.main else [], done.lineage[-1].summary)
    files = check_corpus(config.corpus)
    return _Pretraining(config, files, Steps(work_folder(out), said), processes).finish(out)


class _Pretraining:
    """A run whose corpus has been looked at."""

    def __init__(self, config: PretrainConfig, files: dict[str, str], steps: Steps, processes: Processes) -> None:
        self.config, self.files, self.steps, self.processes = config, files, steps, processes
        self.vocabulary = Vocabulary.open(self._tokenizer_folder())
        self.model = build(config.model, self.vocabulary.ids, seed=config.seed)
        self.pack_to = pack_length(config, self.model)
        self.objective = objective_of(config, self.vocabulary.facts, self.pack_to)
        corpus = self._corpus()
        texts = [document.text for document in corpus.held_out][: config.held_out.documents]
        if len(texts) < 2:
            raise SlonikError(
                f"the corpus leaves {len(texts)} held-out documents, at least 2 are needed to measure on: give more "
                "documents, or raise corpus.held_out_share"
            )
        objective = "mlm" if config.objective == "nsp" else config.objective
        denoisers = config.mixture if objective == "denoising" else ()
        self.held_out = HeldOutBits(texts, objective, max_length=config.length, denoisers=denoisers)
        sequences = sequences_of(config, corpus.train, self.vocabulary, self.objective)
        self.loader = loader_of(config, sequences, self.objective, self.pack_to)
        steps.announce(f"{corpus.train.token_count:,} tokens in {len(sequences.table(0)):,} sequences")

    def finish(self, out: Path) -> Pretrained:
        """Train, and write the checkpoint."""
        config, processes = self.config, self.processes
        costs = run_costs(config, processes=processes.world)
        decides = what_decides(config)
        scratch = self.steps.scratch("train", {"recipe": decides, "files": sorted(self.files.values())})
        self.steps.announce(f"training {costs.model.parameters / 1e6:,.1f} M parameters in {scratch}")
        summary = run(
            self.model, self.objective, self.loader, config.train.model_copy(update={"seed": config.seed}), scratch,
            evaluate=self._evaluate, sample=self._sampler(), flops_per_token=costs.flops_per_token,
            identity={"recipe": sha256_json(decides)},
        )  # fmt: skip
        result = self._write(summary, out) if processes.main else Pretrained(out, [], {})
        processes.wait()
        return result

    def _tokenizer_folder(self) -> Path:
        config = self.config
        given = given_tokenizer(config)
        if given is not None:
            return given
        wanted = config.tokenizer.model_dump(mode="json") | {"sentinels": wanted_sentinels(config)}
        inputs = {
            "files": sorted(self.files.values()), "tokenizer": wanted,
            "family": config.model.family, "denoisers": config.model_dump(mode="json")["denoisers"],
            "column": config.corpus.column, "border": config.corpus.border, "held_out": config.corpus.held_out_share,
        }  # fmt: skip

        def work(folder: Path) -> Mapping[str, Any]:
            return make_tokenizer(config, folder, self.steps.announce)

        return self._first(lambda: self.steps.step("tokenizer", inputs, "training the tokenizer", work)).folder

    def _corpus(self) -> PreparedCorpus:
        settings, tokenizer = self.config.corpus, self.vocabulary.tokenizer
        folder = self.steps.folder / f"corpus-{corpus_key(settings, tokenizer)[:12]}"
        return self._first(lambda: prepare_corpus(settings, tokenizer, folder))

    def _first(self, work: Callable[[], T]) -> T:
        """`work` in the first process, then in the others, which find it done."""
        found = work() if self.processes.main else None
        self.processes.wait()
        return work() if found is None else found

    def _measure(self, model: nn.Module) -> TextBits:
        return self.held_out.measure(model, self.vocabulary.tokenizer, self.vocabulary.facts)

    def _evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"bits_per_byte": self._measure(model).per_byte}

    def _sampler(self) -> Sample | None:
        settings = self.config.held_out
        if not settings.prompts or self.config.objective not in ("clm", "denoising"):
            return None
        sampling = SamplingConfig(max_tokens=settings.new_tokens, top_p=0.95, seed=self.config.seed)

        def sample(model: nn.Module) -> list[str]:
            writer = TextGenerator(model, self.vocabulary.tokenizer)  # type: ignore[arg-type]
            written = writer.complete(settings.prompts, sampling)
            return [prompt + text for prompt, text in zip(settings.prompts, written, strict=True)]

        return sample

    def _write(self, summary: RunSummary, out: Path) -> Pretrained:
        """Put the best weights into a model of one process, measure it, and write it."""
        config, folder = self.config, summary.weights.parent
        model = build(config.model, self.vocabulary.ids, seed=config.seed)
        load_weights(model, read_checkpoint(folder).tensors["model"], folder)
        model.to(self.processes.device)  # type: ignore[arg-type]
        records = _records(self._measure(model), out.name, config.seed)
        figures = {
            "steps": summary.step, "tokens": summary.tokens, "loss": round(summary.loss, 4),
            "best_step": summary.best.step if summary.best else summary.step, "processes": self.processes.world,
        }  # fmt: skip
        corpus = sha256_bytes("".join(sorted(self.files.values())).encode())
        step = Step(
            command=COMMAND, config=config.model_dump(mode="json"), seed=config.seed, summary=figures,
            inputs={"recipe": recipe_hash(config), "corpus": corpus}, seconds=round(summary.seconds, 1),
        )  # fmt: skip
        passport = Passport(name=out.name, origin="slonik pretrain").with_step(step).with_records(records)
        write_checkpoint(model.cpu(), self.vocabulary, config, passport, summary.metrics, out)
        return Pretrained(out, records, figures)


def _records(bits: TextBits, name: str, seed: int) -> list[Record]:
    statistic = Ratio(bits.bits, bits.bytes)
    found = interval(value_of(statistic), replicates(statistic, seed=seed, sample=f"{SUITE} held_out"))
    return [
        Record(
            suite=SUITE, task="held_out", model=name, metric="bits_per_byte", value=found.value, low=found.low,
            high=found.high, n=len(bits.bits), seed=seed,
        )
    ]  # fmt: skip


def recipe_hash(config: PretrainConfig) -> str:
    """Hash of all that decides the weights, names of files and folders left out."""
    return sha256_json(what_decides(config))


def what_decides(config: PretrainConfig) -> dict[str, Any]:
    """The fields that decide the weights, the contents of the corpus apart."""
    content = config.model_dump(mode="json", exclude={"out", "version", "held_out", "train"})
    content["corpus"].pop("files")
    content["corpus"].pop("shard_tokens")
    return content | {"train": config.train.identity(), "documents": config.held_out.documents}


def finished_before(out: Path, config: PretrainConfig) -> Passport | None:
    """The passport in `out` where this very recipe made it; None where there is nothing yet.

    Raises:
        SlonikError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    passport = Passport.read(out) if out.is_dir() else Passport(name="")
    last = passport.lineage[-1] if passport.lineage else None
    if last is not None and last.command == COMMAND and last.inputs.get(_RECIPE) == recipe_hash(config):
        return passport
    raise SlonikError(f"{out} is there already and was not made by this recipe: choose another --out or remove it")


def write_checkpoint(
    model: PreTrainedModel, vocabulary: Vocabulary, config: PretrainConfig, passport: Passport, metrics: Path, out: Path
) -> None:
    """Write weights, tokenizer, passport and metrics log, atomically; encoders with their sentence settings.

    Raises:
        SlonikError: full disk.
    """
    encoder = config.model.family not in _WRITERS
    with new_folder(out) as folder, quiet_transformers():
        model.save_pretrained(folder)
        write_tokenizer(
            vocabulary.tokenizer,
            folder,
            names=vocabulary.names,
            max_length=config.model.max_length,
            types=int(getattr(model.config, "type_vocab_size", 0) or 0) > 1,
        )
        if encoder:
            SentenceConfig(max_length=config.model.max_length).write(folder, config.model.hidden)
        passport.write(folder)
        shutil.copy(metrics, folder / "metrics.jsonl")
        read_tensors(folder)
