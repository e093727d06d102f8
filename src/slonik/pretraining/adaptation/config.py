"""Settings of `slonik adapt`, and what each is for."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import FORMAT, Config, RecipeFormat, Seed
from slonik.pretraining.adaptation.distilbert import DistilBertTerms
from slonik.pretraining.corpus import CorpusSettings
from slonik.pretraining.objectives import MaskingConfig
from slonik.train.train_config import TrackerName, TrainConfig

_ELSEWHERE = {
    "seed": "give the seed of the whole adaptation (seed)",
    "best_metric": "it chooses its checkpoint by bits per byte",
    "higher_is_better": "it chooses its checkpoint by bits per byte",
    "evaluate_every_minutes": "give evaluations, or evaluate_every_steps",
}


class AdaptTraining(TrainConfig):
    """The training of one stage: the loop's settings, with the defaults of an adaptation."""

    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps; None = `epochs`."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the domain corpus, by all processes together."""
    batch_tokens: int = Field(4096, ge=64)
    """Tokens of one batch of one process; a step has `accumulate` such batches in each process."""
    evaluations: int = Field(4, ge=1)
    """How often the held-out bits per byte are measured; the best checkpoint is kept."""
    evaluate_every_steps: int | None = Field(None, ge=1)  # type: ignore[assignment]
    """None = as often as `evaluations` says."""
    betas: tuple[float, float] = (0.9, 0.98)
    embeddings: Literal["lazy", "dense", "frozen"] = "dense"
    best_metric: str = "bits_per_byte"
    higher_is_better: bool = False
    save_every_minutes: float = Field(3.0, ge=0)
    trackers: tuple[TrackerName, ...] = ("tensorboard",)

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        """The steps of `epochs` are an end too; what stands elsewhere is refused rather than passed over."""
        default = {name: field.default for name, field in type(self).model_fields.items()}
        for name, instead in _ELSEWHERE.items():
            if getattr(self, name) != default[name]:
                raise ValueError(f"{name} is not for an adaptation: {instead}")
        if self.evaluate_every_steps is not None and self.evaluations != default["evaluations"]:
            raise ValueError("evaluations and evaluate_every_steps say the same: give one of them")
        if self.max_steps is not None and self.epochs != default["epochs"]:
            raise ValueError("max_steps and epochs cannot be combined: give one of them")
        self.loop(self.max_steps or 1)  # what the loop's own settings refuse
        return self

    def loop(self, steps: int, **fields: Any) -> TrainConfig:
        """The loop's settings for so many steps."""
        own = {name: getattr(self, name) for name in TrainConfig.model_fields}
        every = self.evaluate_every_steps or max(1, steps // self.evaluations)
        own |= {"max_steps": steps, "evaluate_every_steps": every}
        return TrainConfig(**own | fields)


class LoraSettings(Config):
    """Low-rank matrices beside the body's weights, which alone are trained (Hu et al., "LoRA", 2021), by peft.

    The checkpoint that comes out has them added to its weights and is an ordinary one.
    """

    rank: int = Field(16, ge=1)
    alpha: float | None = Field(None, gt=0)
    """Scale of what they add, times `rank`; None = twice the rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    layers: tuple[str, ...] = ()
    """Names, or ends of names, of the linear layers that get them; none = all of the body."""
    keep: bool = False
    """Write them beside the weights too, in `lora/`, as peft's own format for the original model."""


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
    lora: LoraSettings | None = None
    """Train low-rank matrices beside the body's weights and not the weights; a new head is trained first as usual."""
    head: HeadTraining = HeadTraining()
    vocabulary: VocabularyChange = VocabularyChange()
    task_head: Literal["keep", "drop"] | None = None
    """Of a classifier, tagger or other model with a head for a task: keep the head as it is, untaught, or leave it out;
    None = such a model is refused."""
    measured_documents: int = Field(600, ge=10)
    """Held-out documents of each corpus; half of the domain's choose the checkpoint, the others are measured whole."""
    measured_kilobytes: float = Field(1_000, gt=0)
    """Of UTF-8, of what is measured: no further document is taken once so many are reached."""
    apart: tuple[str, ...] = ()
    """Sources of the domain corpus (see its .ranges.tsv) that are reported apart from the rest."""
    seed: Seed = 0

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
        if self.lora is not None and (self.vocabulary.tokenizer or self.vocabulary.new_words):
            raise ValueError(
                "lora leaves the embeddings as they are, and new tokens have to learn theirs: adapt without"
            )
        if self.lora is not None and self.lora.keep and self.every:
            raise ValueError("lora.keep is for the original model, and with every its layers are others: leave one out")
        if self.lora is not None and self.train.sharding == "full":
            raise ValueError("lora goes with sharding none: the weights that it leaves alone need no optimizer state")
        if self.lora is not None and not self.head.first:
            raise ValueError("lora trains no head: leave head.first true, so that a new head is trained before")
        if self.lora is not None and self.head.compare:
            raise ValueError("head.compare trains body and head together, and lora trains no head: leave one out")
        if self.teacher and (self.vocabulary.tokenizer or self.vocabulary.new_words):
            raise ValueError("a teacher does not know the tokens of a new vocabulary: adapt first, then teach")
        return self
