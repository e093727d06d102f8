"""Settings of fine-tuning: what is trained, on which items, how long, how often, from which teacher."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config, Seed

OwnKind = Literal["classification", "multilabel", "pair", "regression", "qa", "text2text"]


class Tuning(Config):
    """How one task model is trained. The defaults are for encoders of some 10 to 100 M parameters and small data."""

    epochs: float = Field(6.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    """At most so many steps, whatever the epochs say."""
    batch_texts: int = Field(16, ge=1)
    batch_tokens: int | None = Field(4096, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    """Of the head; with `layer_decay` the layers below learn slower. Where it is not given, `slonik finetune` takes one
    by the width of the encoder (`encoder_learner.usual_rate`), or the family's (`language_model_learner.USUAL`)."""
    layer_decay: float = Field(0.9, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    optimizer: Literal["adamw", "adafactor", "lamb", "muon"] = "adamw"
    clip_norm: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    encoder_dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout of hidden states and attention while training; None = as in the checkpoint."""
    masked_pieces: float = Field(0.0, ge=0, lt=1)
    """Share of the tokens of every training input that are hidden behind the mask token, anew at each pass."""
    freeze: Literal["nothing", "embeddings", "encoder"] = "embeddings"
    """Large embedding tables are left as they are by default: a small task sees few of their rows."""
    lora: int | None = Field(None, ge=1)
    """Rank of low-rank matrices (LoRA), which are trained in the place of the transformer's weights and added to them
    at the end; None: all weights that are not frozen."""
    lora_alpha: float | None = Field(None, gt=0)
    """Scale of the adapters; None = twice the rank."""
    class_weights: Literal["none", "balanced"] = "none"
    """"balanced": rows of a label weigh as much as those of any other, N / (L n) each; of several labels per row the
    positive ones weigh (N - n) / n, at most 20."""
    evaluations: int = Field(2, ge=1)
    """Evaluations on the stopping set per epoch."""
    patience: int | None = Field(5, ge=1)
    """Stop after so many evaluations without a better one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of matrix products; auto: bf16 where the device computes it faster than fp32."""
    max_length: int | None = Field(None, ge=4)
    """Tokens of an input; None = the task's own."""
    head: dict[str, Any] = {}
    """Options of the head, over those of the task."""
    shape: Literal["own", "stock"] | None = None
    """Whose head: "stock", that of the family's class in Transformers, or one of ours; None = stock
    where that was measured to be as good (docs/log.md), else ours."""
    pairs: Literal["joint", "separate"] | None = None
    """How two texts are encoded; None = the task's own way."""
    save_every_minutes: float = Field(5.0, ge=0)

    @model_validator(mode="after")
    def _lora_fits(self) -> Self:
        if self.lora is not None and self.freeze == "encoder":
            raise ValueError("lora trains the encoder, and freeze is encoder: leave one of them out")
        if self.lora_alpha is not None and self.lora is None:
            raise ValueError("lora_alpha is the scale of adapters: give lora, their rank, too")
        return self


class Distillation(Config):
    """Distillation while fine-tuning (DistilBERT, section 3, second variant)."""

    teachers: tuple[str, ...] = ()
    """Folders of task models for the same task; the mean of several is the ensemble's answer."""
    weight: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(2.0, gt=0)


class OwnData(Config):
    """The user's own labelled files."""

    train: str
    valid: str | None = None
    """Measured at the end, nothing is chosen on it; None = a held-out share of `train`."""
    kind: OwnKind = "classification"
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    group_column: str | None = None
    """Rows with one value there (an author, a document) stay on one side of every split; rows of one text always do."""
    unlabelled: Literal["refuse", "leave_out"] = "refuse"
    """Rows whose label is null or empty: an error that counts them, or left out, with a warning that counts them."""
    prompts: tuple[str, ...] = ()
    """Decoders and T5: how a row is asked, with {column} where its texts go; several need `prompts: several`."""
    name: str = "custom"


class FinetuneRecipe(Config):
    """What `slonik finetune` reads."""

    model: str
    out: str
    tasks: tuple[str, ...] = ()
    data_dir: str | None = None
    own: OwnData | None = None
    seeds: int = Field(3, ge=1)
    seed: Seed = 0
    """Of the splits and the first run; runs take seed, seed + 1, ..."""
    tuning: Tuning = Tuning()
    per_task: dict[str, dict[str, Any]] = {}
    """Task id -> fields of `tuning` for that task."""
    grid: dict[str, list[Any]] = {}
    """Field of `tuning` -> values to try; every combination is run once, the stopping set chooses."""
    skip_missing: bool = False
    """Leave out, saying so, tasks of which the data folder has nothing; else they are an error."""
    crossfit: Literal["auto", "always", "never"] = "auto"
    """Cross-fitting over val_crowd.jsonl: "auto" where a task has no training file."""
    folds: int = Field(5, ge=2)
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of the training file that is measured where there is no other labelled file."""
    stopping: float = Field(0.12, gt=0, lt=1)
    """Share of the fitting items that decide early stopping and the grid."""
    max_items: int | None = Field(None, ge=1)
    """At most so many fitting items of a task, drawn by seed."""
    answer_test: bool = True
    """Answer the unlabelled test set too, for a submission."""
    keep_all: bool = False
    """Keep the task model of every seed (`out/seeds/N`), to distil one model from all of them."""
    multitask: bool = False
    """Train one encoder on all tasks first, then go on with each task from there."""
    teaching: Distillation = Distillation()
    prompts: Literal["plain", "none", "several"] = "plain"
    """Decoders and T5: the versioned Russian prompts, the bare texts, or every prompt in turn (those of the task, or
    `own.prompts`), without training: their mean and spread."""
    denoiser: str = ""
    """Text-to-text: prefix of the denoiser to go on from, e.g. "<LM>" of FRED-T5."""
    answer_tokens: int | None = Field(None, ge=1)
    """Text to text: the most tokens of an answer; None = as many as the longest training answer has, at least 64."""
    shots: int = Field(0, ge=0)
    """Decoders without training: examples in the prompt."""
    train: bool = True
    """False: decoders and T5 answer as they are (zero-shot, or with `shots`)."""

    few_shot: bool = False
    """Encoders, 8 to 64 rows of one label each: the encoder is fitted to pairs of texts, then a logistic regression to
    its vectors (SetFit); all rows are learned from."""
    stop_by: str | None = None
    """Metric that early stopping and the grid follow, or "loss"; None: the task's first metric, the loss where fewer
    than 100 items are stopped by."""
    calibrate: bool = False
    """Divide what the model gives by a temperature, chosen on the stopping set; the calibration error is measured."""
    thresholds: Literal["half", "chosen"] = "half"
    """Several labels: a label is given above one half, or above its own threshold, chosen on the stopping set (F1)."""

    @model_validator(mode="after")
    def _has_a_task(self) -> Self:
        if bool(self.tasks) == (self.own is not None):
            raise ValueError("give either tasks of Russian SuperGLUE or your own training file")
        if self.tasks and self.data_dir is None:
            raise ValueError("tasks of Russian SuperGLUE need data_dir, the folder that holds russian_superglue/")
        if self.few_shot:
            self._few_shot_fits()
        if self.prompts == "several" and self.train:
            raise ValueError("prompts: several is for models that are asked as they are (train: false)")
        if self.own is not None and len(self.own.prompts) > 1 and self.prompts != "several":
            raise ValueError(f"own.prompts has {len(self.own.prompts)} prompts: set prompts: several, or give one")
        return self

    def _few_shot_fits(self) -> None:
        if self.own is None or self.own.kind != "classification":
            raise ValueError("few_shot is for rows of your own with one label each (kind: classification)")
        if self.calibrate or self.thresholds == "chosen" or self.stop_by is not None:
            raise ValueError("few_shot spares no rows to choose by: leave out stop_by, calibrate and thresholds")
        if self.teaching.teachers or self.multitask or not self.train:
            raise ValueError("few_shot goes without teachers, multitask and train: false: leave them out")
