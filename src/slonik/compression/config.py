"""Every setting of `slonik compress` and `slonik distill`, with its default."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from slonik.compression.objective import DistillationTerms
from slonik.core.config import Config, Seed
from slonik.text.scripts import scripts_of_languages


class CorpusConfig(Config):
    """Which texts the recipe reads, and how many."""

    texts: tuple[str, ...] = ()
    """Files of Russian (or any) text: .txt, .jsonl, .parquet, each also with .gz; folders of them."""
    shares: tuple[float, ...] = ()
    """Of each of `texts`, how large a part of the training and held-out sentences it gives (only the ratios matter), as
    far as it has so many; without them each gives as many as it is long."""
    pairs: tuple[str, ...] = ()
    """Files of English-Russian pairs (.tsv, .po, .mo); optional."""
    examples: tuple[str, ...] = ()
    """Of a model with a head: files of rows of its task (.jsonl, .csv, .tsv; questions as in SQuAD), which it is taught
    on beside the corpus; labels are not read."""
    train_texts: int = Field(200_000, ge=1)
    """Different sentences for distillation, at most; long texts are cut into sentences."""
    train_pairs: int = Field(40_000, ge=0)
    """Pairs for distillation, at most; each gives two texts."""
    near_pairs: int = Field(24_000, ge=0)
    """Pairs of very similar texts, at most: two translations of one sentence, and sentences with a changed copy."""
    substituted_texts: int = Field(0, ge=0)
    """Training texts to add once more with words replaced by others of the same form, as often as newspapers print
    them (Russian; needs the extra ner): for a corpus that lacks names and topics of today."""
    held_out_texts: int = Field(1_000, ge=20)
    held_out_pairs: int = Field(500, ge=0)
    held_out_share: float = Field(0.02, gt=0, lt=0.5)
    """Share of all texts that belongs to the held-out part, decided by their hash."""
    min_words: int = Field(3, ge=1)
    max_words: int = Field(24, ge=1)
    max_tokens: int = Field(48, ge=8)
    """Tokens of a training text, prefix and specials included; the rest is cut off. A model with a head reads as many
    as its task says."""
    without_prefix: float = Field(0.15, ge=0, le=1)
    """Share of the training texts that go in without the model's prefix, as word-level tasks use it."""

    @model_validator(mode="after")
    def _shares_fit(self) -> CorpusConfig:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words is {self.min_words} and max_words {self.max_words}: no sentence is left")
        if self.shares and len(self.shares) != len(self.texts):
            raise ValueError(f"shares has {len(self.shares)} numbers for {len(self.texts)} texts: give one for each")
        if any(not share >= 0 for share in self.shares) or (self.shares and not sum(self.shares) > 0):
            raise ValueError(f"shares are {list(self.shares)}: use numbers from 0 up, at least one of them over 0")
        return self


class TrimConfig(Config):
    """What stays of the vocabulary; see `slonik.text.tokenizers.rules.TrimRules`."""

    scripts: tuple[str, ...] = ("ru", "en")
    mode: Literal["scripts", "counts"] = "scripts"
    min_count: int = Field(2, ge=1)
    max_pieces: int | None = Field(None, ge=100)
    count_texts: int = Field(400_000, ge=1)
    """Lines of the corpus to count tokens in."""

    @field_validator("scripts")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        scripts_of_languages(value)  # before any corpus is read
        return value


class PruneConfig(Config):
    """What is cut out of the encoder: ratios that stay, or one target."""

    layers: int | None = Field(None, ge=1)
    """Layers that stay."""
    keep_layers: tuple[int, ...] | None = None
    """Exactly these layers (0-based), instead of choosing them."""
    heads: float = Field(1.0, gt=0, le=1)
    """Share of the heads that stay."""
    ffn: float = Field(1.0, gt=0, le=1)
    """Share of the feed-forward neurons that stay."""
    hidden: float = Field(1.0, gt=0, le=1)
    """Share of the hidden dimensions that stay."""
    target_parameters: int | None = Field(None, ge=1)
    target_flops: float | None = Field(None, gt=0, le=1)
    """Share of the encoder's FLOPs that may stay."""
    target_latency: float | None = Field(None, gt=0, le=1)
    """Share of the measured time per text that may stay, on this machine."""
    uneven: bool = False
    """Let layers keep different numbers of heads and neurons; the result is a slim checkpoint."""
    steps: int = Field(8, ge=1)
    """Rounds of scoring and cutting."""
    criterion: Literal["taylor", "gate", "fisher", "magnitude", "random"] = "taylor"
    loss: Literal["pairs", "movement", "original", "mlm", "outputs"] | None = None
    """What importance is taken of: closeness of translation pairs, movement of sentence vectors, distance to the
    original's vectors, masked words, movement of a head's outputs; without it, outputs where a head reads one text,
    else pairs where there are any, else movement."""
    texts: int = Field(512, ge=8)
    """Texts or pairs to score structures on, and to refit on."""
    refit: bool | None = None
    """Mend what was cut by least squares; without a word, only where no distillation follows: the fitted weights are
    large, agree well at once, and learn slowly afterwards."""


class BlendConfig(Config):
    """The teachers as one: their sentence vectors side by side, turned into the student's width (see `blend`)."""

    weights: tuple[float, ...] | None = None
    """Of the original and of `teachers`, in this order; only the ratios matter. Without them all weigh the same."""
    centre: bool = True
    """Take the mean over the corpus off each: vectors of some encoders all lie in one narrow cone."""
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Length of the blended vectors."""
    fit_texts: int = Field(10_000, ge=2)
    """Training texts that means and principal axes are fitted to."""

    @field_validator("weights")
    @classmethod
    def _over_zero(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        bad = [weight for weight in value or () if not (math.isfinite(weight) and weight > 0)]
        if bad:
            raise ValueError(f"a weight is {bad[0]}: use numbers over 0, and leave out a teacher that is not to count")
        return value


def named_once(teachers: Sequence[str]) -> None:
    """Refuse a teacher that stands twice among those who teach together.

    Raises:
        ValueError: one does.
    """
    twice = next((name for number, name in enumerate(teachers) if name in teachers[:number]), None)
    if twice is not None:
        raise ValueError(f"the teacher {twice} is named twice: name it once, its weight says how much it counts")


class DistillConfig(Config):
    """How the student learns from its teacher."""

    terms: DistillationTerms = DistillationTerms(
        cosine=0.0, similarity_kl=0.0, pairs=0.0, normalized_mse=5.0, hidden=14.0, normalize_hidden=False
    )
    teachers: tuple[str, ...] = ()
    """Further teachers beside the original; their sentence vectors are added as targets, or blended into one."""
    blend: BlendConfig | None = None
    """Make the teachers one target that the student's own vectors are to meet, instead of a target each."""
    output_map: bool = False
    """Put a Dense behind the student's pooling that learns the target's axes and stays there; token states keep the
    first teacher's."""
    fold_prefix: bool = False
    """The teacher reads its prefix and the student does not: the student needs none afterwards."""
    texts_of_input: Literal[1, 2] | None = None
    """Of a classifier: does it read single texts or pairs? Without it, what its task says."""
    epochs: float = Field(2.0, gt=0)
    """Passes over the training texts, unless `max_steps` or `max_minutes` is given."""
    max_steps: int | None = Field(None, ge=1)
    max_minutes: float | None = Field(None, gt=0)
    """Active minutes; without `max_steps` they drive the schedule, and the run cannot be repeated exactly."""
    batch_tokens: int = Field(2048, ge=64)
    learning_rate: float = Field(8e-4, gt=0)
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    embeddings: Literal["lazy", "frozen"] = "lazy"
    """Rows of the embedding table move when a batch holds them, or not at all."""
    upper_layers: int | None = Field(None, ge=1)
    """Train so many of the uppermost layers, and nothing below them."""
    averaging: float | None = Field(None, gt=0, lt=1)
    """Measure, choose and keep an exponential average of the weights; this share of it stays at each step."""
    dropout: bool = False
    """Drop out as the model's config says. A student too small for its teacher underfits: noise only costs it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of matrix products, the teacher's too; auto: bf16 where this machine computes it faster than fp32."""
    evaluations: int = Field(12, ge=1)
    """How often the held-out agreement is measured."""
    save_every_minutes: float = Field(5.0, ge=0)

    @model_validator(mode="after")
    def _blend_fits(self) -> DistillConfig:
        count = 1 + len(self.teachers)
        if self.blend is not None and count < 2:
            raise ValueError("a blend needs two teachers: name another beside the original, or leave out blend")
        if self.blend is not None and self.blend.weights is not None and len(self.blend.weights) != count:
            raise ValueError(f"{len(self.blend.weights)} weights for {count} teachers: give one for each")
        return self


class CompressConfig(Config):
    """What `slonik compress` reads: corpus, trimming, pruning, distillation, measurement."""

    model: str
    out: str
    pooling: str | None = None
    """How a sentence vector is made, where the model's folder does not say: cls, mean, pooler, ..."""
    corpus: CorpusConfig = CorpusConfig()
    trim: TrimConfig | None = TrimConfig()
    prune: PruneConfig = PruneConfig()
    distill: DistillConfig | None = DistillConfig()
    init: str | None = None
    """Start the student from this checkpoint (an earlier, larger student) instead of from the model. It takes the
    vocabulary that `trim` gives, or keeps its own with `trim: null`."""
    data_dir: str | None = None
    """Benchmark data; encodechka is measured before and after where it is found."""
    evaluate: bool = True
    stages: Literal["none", "fp32", "int8"] = "fp32"
    """Models on the way that are measured too: the vocabulary trimmed alone; with int8, also files of it and of the
    result."""
    speed_texts: int = Field(100, ge=1)
    """Sentences that speed is measured on."""
    seed: Seed = 0

    @property
    def out_name(self) -> str:
        """Name of the result: its folder's."""
        return Path(self.out).name

    @model_validator(mode="after")
    def _teachers_differ(self) -> CompressConfig:
        if self.distill is not None:
            named_once((self.model, *self.distill.teachers))
        return self

    @field_validator("model", "out")
    @classmethod
    def _is_given(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be empty")
        return value
