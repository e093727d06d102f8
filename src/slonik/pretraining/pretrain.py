"""Train a model from nothing: corpus -> tokenizer -> tokens -> model -> loop -> checkpoint with its passport.

Each step is done once and kept beside the checkpoint; the same command after a crash goes on, the training from its
last saved step. Under torchrun the first process prepares, all train, the first writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from slonik.core.config import configure, fields_of
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json
from slonik.core.identity import checkpoint_identity, code_identity
from slonik.core.passport import Passport
from slonik.core.progress import shown
from slonik.core.records import Record
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.given import Given, Texts
from slonik.models.fresh import build
from slonik.models.generation import TextGenerator
from slonik.models.kinds import resolve
from slonik.models.loading import from_files, read_passport
from slonik.models.state import config_facts
from slonik.pretraining.batches import loader_of, objective_of, pack_length
from slonik.pretraining.bits_per_byte import (
    HeldOutBits,
    TextBits,
    bits_interval,
    bits_with_interval,
    said_of,
    whole_documents,
)
from slonik.pretraining.config import PAIRS, PretrainConfig
from slonik.pretraining.corpus import (
    PreparedCorpus,
    check_corpus,
    check_size,
    check_vocabulary,
    corpus_key,
    files_identity,
    open_prepared,
    prepare_corpus,
    shards_given,
    too_few_held_out,
)
from slonik.pretraining.costs import SUITE, run_costs
from slonik.pretraining.shards import TokenCorpus
from slonik.pretraining.snapshots import Snapshots, write_checkpoint
from slonik.pretraining.tokenizer import Vocabulary, given_tokenizer, make_tokenizer, wanted_sentinels
from slonik.runtime.sampling import SamplingConfig
from slonik.train.checkpoints import load_weights, read_checkpoint
from slonik.train.loaders import StagedLoader
from slonik.train.loop import Sample, run
from slonik.train.processes import Processes
from slonik.train.protocols import Loader
from slonik.train.run_state import RunSummary

COMMAND = "pretrain"
T = TypeVar("T")


class Pretrained(Result):
    """What `pretrain` made.

    `records`, in the first process only, has bits per byte on held-out texts with its interval; `summary` what the
    training did.
    """


def pretrain(
    recipe: str | Path | Mapping[str, Any],
    *,
    corpus: Texts = (),
    out: str | Path | None = None,
    tokenizer: str | Path | None = None,
    start: str | Path | None = None,
    steps: int | None = None,
    language: str | None = None,
    column: str | None = None,
    trackers: Sequence[str] | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> Pretrained:
    """Train a model from nothing; the same call after a crash goes on, and after its end finds the result there.

    Args:
        recipe: YAML file, or its content.
        corpus: files or folders of text, hub:OWNER/NAME, or texts, each a document.
        out: folder for the checkpoint.
        tokenizer: folder or model whose tokenizer to use, instead of training one.
        start: a finished model of the recipe's shape to go on with: its weights, its tokenizer, a new optimizer.
        steps: of the optimizer.
        language: of the corpus; "any" = not checked.
        column: field or column with the texts.
        trackers: tensorboard, mlflow, clearml, wandb, trackio; empty for none.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: as `run_pretrain`.
    """
    options: dict[str, Any] = {
        "out": out, "tokenizer": tokenizer, "start": start, "steps": steps, "language": language, "column": column,
        "trackers": trackers, "seed": seed, "set": set,
    }  # fmt: skip
    given = Given(pretrain_config(recipe, **options).out)
    config = pretrain_config(recipe, files=given.texts("corpus", corpus), **options)
    with shown(progress):
        return run_pretrain(config, announce or (say if progress else silent), given=given)


def pretrain_config(
    recipe: str | Path | Mapping[str, Any],
    *,
    files: Sequence[str] = (),
    out: str | Path | None = None,
    tokenizer: str | Path | None = None,
    start: str | Path | None = None,
    steps: int | None = None,
    language: str | None = None,
    column: str | None = None,
    trackers: Sequence[str] | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
) -> PretrainConfig:
    """The configuration of a recipe with the options of `pretrain` over it.

    Raises:
        SlonikError: fields that do not exist, are out of range, or do not go together.
    """
    at = fields_of(PretrainConfig)
    fields: dict[Any, Any] = {
        at.out: str(out) if out else None, at.corpus.files: files or None, at.seed: seed,
        at.tokenizer.given: str(tokenizer) if tokenizer else None, at.start: str(start) if start else None,
        at.train.max_steps: steps, at.corpus.language: language, at.corpus.column: column,
        at.train.trackers: None if trackers is None else list(trackers),
    }  # fmt: skip
    return configure(PretrainConfig, recipe, fields, set)


def run_pretrain(config: PretrainConfig, announce: Announce = silent, *, given: Given | None = None) -> Pretrained:
    """Train the recipe's model and write it to `config.out`; see `pretrain`.

    Args:
        announce: called with one line for the user as steps begin and end.
        given: texts in memory that the configuration names.

    Raises:
        SlonikError: a corpus that is missing, empty, too short or in another language; a tokenizer without the tokens
            that the objective needs; `out` holds something else, or was made from another recipe, corpus, tokenizer or
            code; what the loop raises.
    """
    processes, given = Processes(config.train.device), given or Given(config.out)
    with Run(
        config.out, command=COMMAND, config=given.told(config.model_dump(mode="json")), seed=config.seed,
        announce=announce, reads=[name for name in config.corpus.files if name not in given.said], resume=True,
        main=processes.main,
    ) as frame:  # fmt: skip
        if processes.main:
            given.write(frame)
        processes.wait()
        identity: dict[str, Any] = {
            "recipe": what_decides(config),
            # Read by the first process alone: the others see its shards, and compare what they read of them.
            "corpus": frame.input("corpus", processes.from_first(lambda: files_identity(config.corpus))),
            "code": code_identity(__name__),
        }
        given_vocabulary = None
        if (folder := given_tokenizer(config)) is not None:
            given_vocabulary = Vocabulary.open(folder)
            identity["tokenizer"] = frame.input("tokenizer", given_vocabulary.identity)
        if config.start:
            identity["start"] = frame.input("start", checkpoint_identity(resolve(config.start)))
        if frame.done_before(identity):
            frame.announce(f"{frame.out} is there already, made by this recipe of this corpus: nothing to do")
            passport = Passport.read(frame.out)
            records = passport.records if processes.main else ()
            return Pretrained(checkpoint=frame.out, records=records, summary=passport.lineage[-1].summary)
        processes.from_first(lambda: _check(config, given_vocabulary))
        return _Pretraining(config, identity, frame, processes).finish()


def _check(config: PretrainConfig, given: Vocabulary | None) -> None:
    """Look at the corpus, and at a tokenizer that was given, before any work is done."""
    settings = config.corpus
    check_corpus(settings)
    check_size(settings, length=config.length, pairs=config.format in PAIRS)
    if given is not None:
        check_vocabulary(settings, given.tokenizer, f"the tokenizer {config.start or config.tokenizer.given}")
    if config.start:
        started(config)


def started(config: PretrainConfig, model: PreTrainedModel | None = None) -> None:
    """Put the weights of the model that the recipe goes on with into `model`, a fresh one; None = only look.

    Raises:
        SlonikError: it is none of this shape, or lacks weights.
    """
    folder = resolve(str(config.start))
    vocabulary = Vocabulary.open(folder)
    fresh = build(config.model, vocabulary.ids, device="meta") if model is None else model
    made, missing = from_files(type(fresh), folder, torch.float32, False, whole=True)
    known, wanted = config_facts(made), config_facts(fresh)
    other = sorted(name for name in wanted if wanted[name] != known.get(name) and "drop" not in name)
    if missing or other:
        what = f"lacks {missing[0]}" if missing else f"has another {', '.join(other[:5])}"
        raise SlonikError(f"{config.start} is no beginning for this recipe's {config.model.family}: it {what}")
    if model is not None:
        model.load_state_dict(made.state_dict())


class _Pretraining:
    """A run whose corpus has been looked at."""

    def __init__(self, config: PretrainConfig, identity: Mapping[str, Any], frame: Run, processes: Processes) -> None:
        self.config, self.identity, self.frame, self.processes = config, identity, frame, processes
        self.vocabulary = Vocabulary.open(self._tokenizer_folder())
        self.model = build(config.model, self.vocabulary.ids, seed=config.seed)
        if config.start:
            started(config, self.model)
            frame.announce(f"going on from {config.start}")
        self.objective = objective_of(config, self.vocabulary.facts, pack_length(config, self.model))
        corpus = self._corpus()
        self.held_out, self.choosing = self._measures([document.text for document in corpus.held_out])
        self.loader = self._loader(corpus.train)

    def _loader(self, corpus: TokenCorpus) -> Loader:
        """Batches of the corpus at each of the recipe's lengths, one after another."""
        loaders = []
        for phase, _ in self.config.phases:
            pack_to = pack_length(phase, self.model)
            objective = objective_of(phase, self.vocabulary.facts, pack_to)
            loader, count = loader_of(phase, corpus, self.vocabulary, objective, pack_to)
            loaders.append(loader)
            self.frame.announce(f"{corpus.token_count:,} tokens in {count:,} sequences of at most {phase.length:,}")
        of_step = self.config.train.accumulate * self.processes.world
        batches = [(steps or 0) * of_step for _, steps in self.config.phases]
        return StagedLoader(list(zip(loaders, batches, strict=True))[:-1], loaders[-1]) if loaders[1:] else loaders[0]

    def finish(self) -> Pretrained:
        """Train, and write the checkpoint."""
        config, processes, frame = self.config, self.processes, self.frame
        costs = run_costs(config, processes=processes.world)
        scratch = frame.scratch("train", self.identity)
        others = [path for path in frame.folder.glob("train-*") if path != scratch]
        if others:
            frame.announce(
                f"an unfinished training in {others[0]} was begun with another recipe, corpus or code: it is not gone "
                "on with"
            )
        frame.announce(f"training {costs.model.parameters / 1e6:,.1f} M parameters in {scratch}")
        snapshots = Snapshots(config, self.vocabulary, self._passport(), frame, begins=not any(scratch.iterdir()))
        summary = run(
            self.model, self.objective, self.loader, config.train.model_copy(update={"seed": config.seed}), scratch,
            evaluate=self._evaluate, **snapshots.watching, sample=self._sampler(),
            flops_per_token=costs.flops_per_token,
            identity={"recipe": sha256_json(self.identity["recipe"])},
        )  # fmt: skip
        result = self._write(summary, snapshots) if processes.main else Pretrained(checkpoint=frame.out)
        processes.wait()
        return result

    def _tokenizer_folder(self) -> Path:
        config = self.config
        given = given_tokenizer(config)
        if given is not None:
            return given
        settings = config.corpus
        inputs = {
            "corpus": self.identity["corpus"],
            "tokenizer": config.tokenizer.model_dump(mode="json") | {"sentinels": wanted_sentinels(config)},
            "family": config.model.family,
            "denoisers": config.model_dump(mode="json")["denoisers"],
            "max_length": config.model.max_length,
            "reading": {"column": settings.column, "border": settings.border, "held_out": settings.held_out_share},
        }

        def work(folder: Path) -> Mapping[str, Any]:
            return make_tokenizer(config, folder, self.frame.announce)

        def step() -> Path:
            code = ["slonik.pretraining.tokenizer"]
            return self.frame.step("tokenizer", inputs, "training the tokenizer", work, code=code).folder

        return self._first(step)

    def _corpus(self) -> PreparedCorpus:
        settings, tokenizer = self.config.corpus, self.vocabulary.tokenizer
        key = self.processes.from_first(lambda: corpus_key(settings, tokenizer))
        folder = shards_given(settings) or self.frame.folder / f"corpus-{key[:12]}"
        made: list[PreparedCorpus] = []
        self.processes.from_first(lambda: made.append(prepare_corpus(settings, tokenizer, folder)))
        return made[0] if made else open_prepared(folder)

    def _first(self, work: Callable[[], T]) -> T:
        """`work` in the first process, then in the others, which find it done."""
        made: list[T] = []
        self.processes.from_first(lambda: made.append(work()))
        return made[0] if made else work()

    def _measures(self, texts: Sequence[str]) -> tuple[HeldOutBits, HeldOutBits]:
        """What the result is measured on, and what chooses the checkpoint: other documents."""
        config = self.config
        measured, choosing = (
            whole_documents(some, config.held_out.documents, config.held_out.kilobytes)
            for some in (texts[::2], texts[1::2])
        )
        if not choosing:
            raise SlonikError(too_few_held_out(len(texts)))
        objective = "mlm" if config.objective == "nsp" else config.objective
        denoisers = config.mixture if objective == "denoising" else ()
        self.frame.announce(f"{said_of(choosing)} choose the checkpoint, {said_of(measured)} are measured")
        return (
            HeldOutBits(measured, objective, max_length=config.length, denoisers=denoisers),
            HeldOutBits.choosing(choosing, objective, max_length=config.length, denoisers=denoisers),
        )

    def _measure(self, model: nn.Module, measure: HeldOutBits) -> TextBits:
        return measure.measure(model, self.vocabulary.tokenizer, self.vocabulary.facts)

    def _evaluate(self, model: nn.Module) -> dict[str, float]:
        return bits_with_interval(self._measure(model, self.choosing))

    def _passport(self) -> Passport:
        """Of the model that the run goes on with, or a new one."""
        name = self.frame.out.name
        if not self.config.start:
            return Passport(name=name, origin="slonik pretrain")
        known = read_passport(resolve(self.config.start), self.config.start)
        return known.model_copy(update={"name": name, "records": ()})

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

    def _write(self, summary: RunSummary, snapshots: Snapshots) -> Pretrained:
        """Put the best weights into a model of one process, measure it, and write it."""
        config, frame, best = self.config, self.frame, summary.weights.parent
        model = build(config.model, self.vocabulary.ids, seed=config.seed)
        load_weights(model, read_checkpoint(best).tensors["model"], best)
        model.to(self.processes.device)  # type: ignore[arg-type]
        records = _records(self._measure(model, self.held_out), frame.out.name, config.seed)
        metrics = {
            "steps": summary.step, "tokens": summary.tokens, "loss": round(summary.loss, 4),
            "best_step": summary.best.step if summary.best else summary.step, "processes": self.processes.world,
            "precision": summary.precision,
        }  # fmt: skip
        passport = self._passport().with_step(frame.passport_step(metrics))
        with frame.result() as folder:
            write_checkpoint(model.cpu(), self.vocabulary, config, passport.with_records(records), folder)
            shutil.copy(summary.metrics, folder / "metrics.jsonl")
            if (curves := summary.metrics.parent / "tensorboard").is_dir():
                shutil.copytree(curves, folder / "tensorboard")
            snapshots.give(folder)
        return Pretrained(checkpoint=frame.out, records=tuple(records), summary=metrics, seconds=frame.seconds)


def _records(bits: TextBits, name: str, seed: int) -> list[Record]:
    found = bits_interval(bits, seed=seed, sample=f"{SUITE} held_out")
    return [
        Record(
            suite=SUITE, task="held_out", model=name, metric="bits_per_byte", **found.fields, n=len(bits.bits),
            seed=seed, detail=bits.told | found.told,
        )
    ]  # fmt: skip


def what_decides(config: PretrainConfig) -> dict[str, Any]:
    """The fields that decide the weights, the contents of the corpus apart."""
    content = config.model_dump(mode="json", exclude={"out", "version", "held_out", "train", "start", "snapshots"})
    content["corpus"].pop("files")
    content["corpus"].pop("shard_tokens")
    return content | {
        "train": config.train.identity(),
        "held_out": {"documents": config.held_out.documents, "kilobytes": config.held_out.kilobytes},
    }
