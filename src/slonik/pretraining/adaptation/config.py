"""Settings of `slonik adapt`, and what each is for."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import FORMAT, Config, RecipeFormat
from slonik.pretraining.adaptation.distilbert import DistilBertTerms
from slonik.pretraining.corpus import CorpusSettings
from slonik.pretraining.objectives import MaskingConfig
from slonik.train.train_config import TrackerName


class AdaptTraining(Config):
    """One stage of training."""

    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps; None = `epochs`."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the domain corpus."""
    learning_rate: float = Field(3e-4, gt=0)
    batch_tokens: int = Field(4096, ge=64)
    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of matrix products; auto: bf16 where the device computes it faster than fp32."""
    evaluations: int = Field(4, ge=1)
    """How often the held-out bits per byte are measured; the best checkpoint is kept."""
    save_every_minutes: float = Field(3.0, ge=0)
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    """Besides metrics.jsonl: tensorboard, mlflow, clearml, wandb, trackio."""


class HeadTraining(Config):
    """The language-model head, where the checkpoint has none: trained first, the body frozen."""

    first: bool = True
    """False = body and a fresh head are trained together from the start."""
    max_steps: int | None = Field(None, ge=1)
    """None = as many as the body's, so that both have seen the same number of tokens."""
    learning_rate: float = Field(1e-3, gt=0)
    compare: bool = False
    """Measure both ways: adapt once more from a fresh head that was not trained first."""


class VocabularyChange(Config):
    """New tokens; at most one of the two."""

    new_words: int = Field(0, ge=0)
    """So many whole words of the domain become tokens, those that save the most tokens."""
    min_frequency: int = Field(10, ge=1)
    tokenizer: str | None = None
    """Folder with a new tokenizer: each of its tokens starts as the mean of its old ones."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.new_words and self.tokenizer:
            raise ValueError("new_words and tokenizer cannot be combined: add the words when training the tokenizer")
        return self


class AdaptConfig(Config):
    """What `slonik adapt` reads."""

    format: RecipeFormat = FORMAT
    """Of the recipe file; a recipe of another version is refused."""
    model: str
    out: str
    objective: Literal["mlm", "clm", "denoising"] | None = None
    """Masked words, the next word, or corrupted spans; None = the model's own: mlm for encoders, clm for decoders,
    denoising for encoder-decoders."""
    corpus: CorpusSettings
    """Texts of the domain."""
    general: CorpusSettings | None = None
    """Other texts: for a missing head, and to see what is forgotten."""
    general_documents: int = Field(50_000, ge=100)
    """The most documents of `general` that are used, drawn evenly from all of it."""
    max_length: int = Field(128, ge=8)
    """Tokens of a sequence, specials included; several documents share a row of so many."""
    masking: MaskingConfig = MaskingConfig(unit="word")
    denoisers: Literal["t5", "fred-t5", "ul2"] | None = None
    """denoising: the mixture; None = fred-t5 or ul2 where the tokenizer has its prefixes, else t5."""
    every: int | None = Field(None, ge=2)
    """Keep the first of every so many layers: 2 makes DistilBERT's student."""
    teacher: str | None = None
    """A masked-language model with its head whose guesses are learned beside the words; often `model` itself."""
    distilbert: DistilBertTerms = DistilBertTerms()
    """Weights of the words, of the teacher's guesses and of its states."""
    train: AdaptTraining = AdaptTraining()
    head: HeadTraining = HeadTraining()
    vocabulary: VocabularyChange = VocabularyChange()
    task_head: Literal["keep", "drop"] | None = None
    """Of a classifier, tagger or other model with a head for a task: keep the head as it is, untaught, or leave it out;
    None = such a model is refused."""
    measured_documents: int = Field(600, ge=10)
    """Held-out documents of each corpus that are measured; half of the domain's choose the checkpoint."""
    apart: tuple[str, ...] = ()
    """Sources of the domain corpus (see its .ranges.tsv) that are reported apart from the rest."""
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        if not self.corpus.files:
            raise ValueError("give at least one corpus file of the domain")
        if self.vocabulary.tokenizer and self.objective in ("clm", "denoising"):
            raise ValueError("a new tokenizer is for masked-language models; decoders and encoder-decoders keep theirs")
        if self.vocabulary.new_words and self.objective == "denoising":
            raise ValueError("new words are for encoders and decoders; encoder-decoders keep their vocabulary")
        if self.every and self.objective == "denoising":
            raise ValueError(
                "a student of every second layer is made of encoders and decoders, not of encoder-decoders"
            )
        if self.teacher and self.objective in ("clm", "denoising"):
            raise ValueError("a teacher is for masked-language models: its guesses are for masked words")
        if self.teacher and (self.vocabulary.tokenizer or self.vocabulary.new_words):
            raise ValueError("a teacher does not know the tokens of a new vocabulary: adapt first, then teach")
        return self
