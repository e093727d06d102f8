"""What `slonik pretrain` reads: corpus, tokenizer, model, objective, training; and what of it cannot go together."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from slonik.core.config import Config, Seed
from slonik.models.fresh import FamilyName, Shape
from slonik.pretraining.corpus import CorpusSettings
from slonik.pretraining.denoising import PRESETS, Denoiser, SpanNoise
from slonik.pretraining.objectives import MaskingConfig
from slonik.pretraining.sequences import Format
from slonik.text.tokenizers.training import Kind
from slonik.train.train_config import TrackerName, TrainConfig

VERSION = 1
ObjectiveName = Literal["mlm", "nsp", "clm", "denoising"]
_OBJECTIVES: dict[FamilyName, tuple[ObjectiveName, ...]] = {
    "bert": ("mlm", "nsp"),
    "roberta": ("mlm",),
    "deberta-v2": ("mlm",),
    "modernbert": ("mlm",),
    "ltg-bert": ("mlm",),
    "gpt2": ("clm",),
    "t5": ("denoising",),
    "fred-t5": ("denoising",),
}
PAIRS = ("segment_pair", "sentence_pair")


class TokenizerSettings(Config):
    """A tokenizer that is there, or one to train on the corpus with the special tokens of the model's family."""

    given: str | None = None
    """A folder or model whose tokenizer is used; the fields below are then for nothing."""
    kind: Kind = "wordpiece"
    vocab_size: int = Field(30_000, ge=10)
    min_frequency: int | None = Field(None, ge=1)
    lowercase: bool = False
    sentinels: int | None = Field(None, ge=1)
    """T5 families; None = 100, or as many as a text has spans where those are more."""
    special_tokens: tuple[str, ...] = ()
    """Further ones: prefixes of a mixture that is none of the presets."""


class DenoiserSettings(Config):
    """One denoiser of a mixture."""

    prefix: str | None = None
    mean_span: float | None = Field(3.0, gt=0)
    """None = a quarter of the text at its end: a prefix language model."""
    rate: float = Field(0.15, gt=0, lt=1)
    weight: float = Field(1.0, ge=0)


class LengthStage(Config):
    """A beginning of the run on shorter sequences, which cost less and teach most of what long ones do, or on smaller
    batches (several such stages are a batch warm-up)."""

    length: int = Field(ge=8)
    share: float = Field(gt=0, lt=1)
    """Of the run's steps."""
    batch_tokens: int | None = Field(None, ge=32)
    """None = the recipe's: more of the shorter sequences in a batch. Smaller ones of the same length warm it up."""


class BatchWarmup(Config):
    """A beginning on small batches that grow in equal steps (Brown et al., "GPT-3", 2020, appendix B): while most of
    the gradient is the same in every batch, many small steps teach more than few large ones."""

    first_tokens: int = Field(ge=32)
    """Of the first batches."""
    share: float = Field(gt=0, lt=1)
    """Of the run's steps, after which batches have `batch_tokens`."""
    rises: int = Field(4, ge=1)
    """How often they grow until then."""


class PretrainTraining(TrainConfig):
    """The loop's settings, with the defaults of pretraining."""

    embeddings: Literal["lazy", "dense", "frozen"] = "dense"
    best_metric: str = "bits_per_byte"
    higher_is_better: bool = False
    trackers: tuple[TrackerName, ...] = ("tensorboard",)


class HeldOutSettings(Config):
    """What is measured on texts that are never trained on."""

    documents: int = Field(400, ge=2)
    """The most that are measured whole, and the most that choose the checkpoint: every other one does one or the
    other."""
    kilobytes: float = Field(1_000, gt=0)
    """Of UTF-8, for either: no further document is taken once so many are reached."""
    prompts: tuple[str, ...] = ()
    """Decoders write on from each at every evaluation; the texts go into the log."""
    new_tokens: int = Field(40, ge=1)


def _as_corpus(value: Any) -> Any:
    """`corpus: file.txt`, `corpus: [a.txt, b.txt]` and `files: file.txt` mean `corpus: {files: [...]}`."""
    fields = value if isinstance(value, dict) else {"files": value}
    files = fields.get("files")
    return {**fields, "files": (files,)} if isinstance(files, str) else fields


def _as_snapshots(value: Any) -> Any:
    """`snapshots: true` means the best."""
    return {True: "best", False: "none"}[value] if isinstance(value, bool) else value


class PretrainConfig(Config):
    """A pretraining run."""

    version: int = VERSION
    """Of the format of recipes."""
    out: str
    corpus: Annotated[CorpusSettings, BeforeValidator(_as_corpus)] = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: Shape
    objective: ObjectiveName
    masking: MaskingConfig = MaskingConfig()
    """mlm and nsp."""
    denoisers: Literal["t5", "fred-t5", "ul2"] | tuple[DenoiserSettings, ...] = "t5"
    """denoising: a published mixture, or one of your own."""
    format: Format = "documents"
    """How the corpus becomes sequences: RoBERTa's four formats, documents, or blocks."""
    length: int = Field(128, ge=8)
    """Tokens of a sequence, specials included; of the input for denoising."""
    stages: tuple[LengthStage, ...] = ()
    """What comes before `length`: {length: 128, share: 0.9} reads 128 tokens for nine tenths of the steps (BERT)."""
    batch_warmup: BatchWarmup | None = None
    """{first_tokens: 1024, share: 0.1}: batches grow from 1,024 tokens to `batch_tokens` in a tenth of the steps. A
    stage may have batches of its own instead."""
    pack: bool = True
    """Several documents in a row of `length` tokens that do not see one another, where the model can; for T5 several
    inputs and targets."""
    batch_tokens: int = Field(4096, ge=32)
    """Tokens of one batch of one process; a step has `train.accumulate` such batches in each process."""
    start: str | None = None
    """A finished model of the same shape that this run goes on with, by its weights and its tokenizer: a longer run,
    longer sequences, more text. The optimizer begins anew."""
    snapshots: Annotated[Literal["none", "best", "all"], BeforeValidator(_as_snapshots)] = "none"
    """best: each new best model of a run that goes on lies in OUT.steps/best too, as a checkpoint that loads. all: the
    model of every evaluation (`train.evaluate_every_steps`), in OUT.steps/snapshots, later in OUT/snapshots/step-N."""
    train: PretrainTraining
    held_out: HeldOutSettings = HeldOutSettings()
    seed: Seed = 0

    @property
    def phases(self) -> list[tuple[PretrainConfig, int | None]]:
        """The recipe at each of its lengths, and for how many steps; None where the run ends by the clock."""
        found: list[tuple[PretrainConfig, int | None]] = []
        for stage in self.stages or self._warm_batches():
            fields = {"length": stage.length, "batch_tokens": stage.batch_tokens or self.batch_tokens}
            found.append((self._alone(**fields), round(stage.share * (self.train.max_steps or 0))))
        spent = sum(steps or 0 for _, steps in found)
        left = None if self.train.max_steps is None else self.train.max_steps - spent
        return [*found, (self._alone(), left)]

    def _alone(self, **fields: Any) -> PretrainConfig:
        """The recipe without a beginning of another kind."""
        return self.model_copy(update={"stages": (), "batch_warmup": None, **fields})

    def _warm_batches(self) -> tuple[LengthStage, ...]:
        """The warm-up of the batch as stages: whole rows, in equal steps."""
        if (warmup := self.batch_warmup) is None:
            return ()
        grows = (self.batch_tokens - warmup.first_tokens) / warmup.rises
        sizes = [int(warmup.first_tokens + grows * number) for number in range(warmup.rises)]
        rows = [max(1, size // self.length) * self.length for size in sizes]
        return tuple(
            LengthStage(length=self.length, share=warmup.share / warmup.rises, batch_tokens=tokens) for tokens in rows
        )

    @property
    def mixture(self) -> tuple[Denoiser, ...]:
        """The denoisers that `denoisers` names or spells out."""
        if isinstance(self.denoisers, str):
            return PRESETS[self.denoisers]
        return tuple(
            Denoiser(each.prefix, SpanNoise(each.rate, each.mean_span), each.weight) for each in self.denoisers
        )

    @field_validator("version")
    @classmethod
    def _is_ours(cls, value: int) -> int:
        if value != VERSION:
            raise ValueError(
                f"this slonik reads recipes of version {VERSION}: see docs/pretraining.md for what changed, "
                "or use the slonik that the recipe was written for"
            )
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        family, allowed = self.model.family, _OBJECTIVES[self.model.family]
        if self.objective not in allowed:
            raise ValueError(f"a {family} is trained with objective {' or '.join(allowed)}, not {self.objective}")
        if self.objective == "nsp" and not self.model.next_sentence:
            raise ValueError("objective nsp needs a model with model.next_sentence: true")
        if not isinstance(self.denoisers, str) and not sum(each.weight for each in self.denoisers):
            raise ValueError("denoisers need at least one with a weight above 0")
        if (self.objective == "nsp") != (self.format in PAIRS):
            raise ValueError(
                f"objective {self.objective} does not go with format {self.format}: nsp reads {' or '.join(PAIRS)}, "
                "and only nsp does"
            )
        if self.length > self.model.max_length:
            raise ValueError(
                f"sequences of {self.length} tokens are longer than the model's max_length of {self.model.max_length}"
            )
        sizes = [(self.batch_tokens, self.length)]
        sizes += [(stage.batch_tokens or self.batch_tokens, stage.length) for stage in self.stages]
        for tokens, length in sizes:
            if tokens < length:
                raise ValueError(f"batches of {tokens} tokens have no room for a sequence of {length}")
        if self.start and self.tokenizer.given:
            raise ValueError("start brings its tokenizer along: leave tokenizer.given out")
        if self.snapshots != "none" and self.train.sharding == "full":
            raise ValueError(
                "snapshots want the whole model in the first process: leave them out, or train.sharding full"
            )
        if (self.stages or self.batch_warmup) and self.train.max_steps is None:
            name = "stages" if self.stages else "batch_warmup"
            raise ValueError(f"{name} takes shares of the steps: give train.max_steps")
        if self.batch_warmup is not None:
            self._check_batch_warmup(self.batch_warmup)
        if sum(stage.share for stage in self.stages) >= 1:
            raise ValueError(f"the shares of the stages leave no step for sequences of {self.length} tokens")
        for stage in self.stages:
            if stage.length > self.length:
                raise ValueError(f"a stage of {stage.length} tokens is not shorter than length ({self.length})")
            if stage.length == self.length and (stage.batch_tokens or self.batch_tokens) == self.batch_tokens:
                raise ValueError(
                    f"a stage of {stage.length} tokens in batches of {self.batch_tokens} is what follows it: give a "
                    "shorter length, or smaller batch_tokens"
                )
        return self

    def _check_batch_warmup(self, warmup: BatchWarmup) -> None:
        if self.stages:
            raise ValueError("batch_warmup does not go with stages: give a stage batch_tokens of its own instead")
        if not self.length <= warmup.first_tokens < self.batch_tokens:
            raise ValueError(
                f"batch_warmup.first_tokens is {warmup.first_tokens}: it has to be a sequence ({self.length}) at "
                f"least, and below batch_tokens ({self.batch_tokens})"
            )
        if warmup.share * (self.train.max_steps or 0) < warmup.rises:
            raise ValueError(
                f"batch_warmup.share {warmup.share} of {self.train.max_steps} steps is less than a step for each of "
                f"{warmup.rises} rises: raise share or lower rises"
            )
