"""Settings of training taggers: which network, on which annotations, from which teacher; and of the whole ladder."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slonik.core.config import Config
from slonik.data.annotations.document import LabelMapping
from slonik.finetuning.config import Tuning
from slonik.tagging.models.bilstm import BiLstmConfig

Kind = Literal["crf", "bilstm", "encoder"]

ENCODER_TUNING: dict[str, Any] = {
    "epochs": 3.0, "batch_texts": 32, "batch_tokens": 640, "learning_rate": 2e-4, "layer_decay": 0.9,
    "evaluations": 1, "patience": None, "max_length": 160, "encoder_dropout": 0.0,
}  # fmt: skip
SPAN_TUNING: dict[str, Any] = {
    **ENCODER_TUNING, "epochs": 6.0, "batch_tokens": 1024, "learning_rate": 3e-4, "max_length": 256,
}  # fmt: skip
BILSTM_TUNING: dict[str, Any] = {
    "epochs": 12.0, "batch_texts": 128, "batch_tokens": 1024, "learning_rate": 3e-3, "layer_decay": 1.0,
    "evaluations": 1, "patience": None, "precision": "fp32", "schedule": "cosine", "warmup_ratio": 0.05,
    "freeze": "nothing", "weight_decay": 1e-4,
}  # fmt: skip


class Distillation(Config):
    """Distillation from another tagger."""

    teacher: str
    """A folder with a tagger, or the name of another system of the ladder."""
    weight: float = Field(0.7, ge=0, le=1)
    """Share of the teacher's term on labelled texts; unlabelled ones have no other."""
    temperature: float = Field(1.5, gt=0)
    unlabelled: tuple[str, ...] = ()
    """Text files (.txt, .jsonl, .parquet, each also .gz); any number of texts."""
    max_texts: int = Field(20_000, ge=0)
    """At most so many of them, drawn by seed; equal texts count once."""
    candidates: int = Field(0, ge=0)
    """Draw so many instead and keep the `max_texts` in which the teacher finds most names; rare labels count more."""
    shortest: int = Field(40, ge=1)
    """Characters of a text worth tagging."""


class System(Config):
    """One tagger of a ladder."""

    name: str
    kind: Kind = "encoder"
    model: str | None = None
    """Of an encoder: folder, hub id or embedded:NAME."""
    crf: bool = False
    """Learn scores of label transitions on top (a plain CRF has them anyway)."""
    names: bool = True
    """Read what training texts called the names of a text (a plain CRF does so anyway)."""
    all_layers: bool = True
    """Of an encoder: read a trainable average of all its layers instead of the last."""
    nested: bool = False
    """Of an encoder: a head over stretches of words, whose entities may lie within one another."""
    width: int = Field(16, ge=1)
    """With `nested`: the most words of an entity."""
    descriptions: dict[str, str] = {}
    """With `nested`: label -> what it is, in words that the encoder reads; without one its name is read."""
    sizes: BiLstmConfig = BiLstmConfig()
    """Of a BiLSTM; its `crf` and `names` are the fields above."""
    tuning: dict[str, Any] = {}
    """Fields of `Tuning` over the defaults of the kind."""
    lesson: Distillation | None = None
    folds: tuple[int, ...] | None = None
    """Folds to run; None = those of the ladder."""
    optional: bool = False
    """Leave the system out, saying so, where its model folder is absent."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "encoder" and self.model is None:
            raise ValueError(f"the system {self.name!r} is an encoder: say which (model)")
        if self.kind == "crf" and self.lesson is not None:
            raise ValueError(f"the system {self.name!r} is a CRF over features, which takes hard labels only")
        self._check_spans()
        self.full_tuning()
        return self

    def _check_spans(self) -> None:
        """Refuse settings that a span head, or a tagger without one, does not read."""
        if not self.nested:
            idle = [name for name in ("width", "descriptions") if name in self.model_fields_set]
            if idle:
                raise ValueError(f"the system {self.name!r} has no span head, which `{idle[0]}` is for: set nested")
            return
        if self.kind != "encoder":
            raise ValueError(f"the system {self.name!r} is a {self.kind}: entities within entities need an encoder")
        if self.crf or self.lesson is not None or ("names" in self.model_fields_set and self.names):
            what = "crf" if self.crf else "a teacher" if self.lesson is not None else "names"
            raise ValueError(f"the system {self.name!r} is nested: a span head has no use for {what}, leave it out")

    @property
    def file_name(self) -> str:
        """Its name as files and folders bear it."""
        return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in self.name)

    def settings(self) -> dict[str, Any]:
        """The fields that decide the weights of a tagger of this kind: no other trains anything anew.

        Model, teacher and unlabelled texts are no names here: what they hold decides (`fit.Job.inputs`).
        """
        if self.kind == "crf":
            return {"kind": self.kind}
        elsewhere = {"name", "model", "folds", "optional", "all_layers" if self.kind == "bilstm" else "sizes"}
        elsewhere |= {"crf", "names"} if self.nested else {"nested", "width", "descriptions"}
        found = self.model_dump(
            mode="json", exclude={**dict.fromkeys(elsewhere, True), "lesson": {"teacher", "unlabelled"}}
        )
        return found | {"tuning": self.full_tuning().model_dump(mode="json", exclude={"save_every_minutes"})}

    def full_tuning(self) -> Tuning:
        """The training settings: those given over the defaults of the kind."""
        defaults = ENCODER_TUNING if self.kind == "encoder" else BILSTM_TUNING
        defaults = SPAN_TUNING if self.nested else defaults
        return Tuning(**{**defaults, **self.tuning})


class TaggerRecipe(Config):
    """What `slonik finetune MODEL --task ner` reads."""

    data: str
    """Annotated texts: a BRAT folder, CoNLL, JSONL spans, Hugging Face rows."""
    format: str | None = None
    out: str
    system: System
    mapping: LabelMapping = LabelMapping()
    stopping: float = Field(0.1, gt=0, lt=1)
    """Share of the documents that is the development set, which chooses the checkpoint."""
    overlap: int = Field(32, ge=0)
    """Tokens that neighbouring windows of a long text share."""
    seed: int = Field(0, ge=0)


class LadderRecipe(Config):
    """What `slonik study ner` reads."""

    data: str
    format: str | None = None
    out: str
    mapping: LabelMapping = LabelMapping()
    folds: int = Field(5, ge=2)
    fold_seed: int = Field(0, ge=0)
    run_folds: tuple[int, ...] = (0,)
    """The folds whose documents are the test set in turn, for systems that do not say otherwise."""
    systems: tuple[System, ...]
    stopping: float = Field(0.1, gt=0, lt=1)
    overlap: int = Field(32, ge=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.systems:
            raise ValueError("the recipe names no systems: see recipes/ner_seccoll.yaml")
        names = [system.file_name for system in self.systems]
        twice = [system.name for system in self.systems if names.count(system.file_name) > 1]
        if twice:
            raise ValueError(f"{' and '.join(map(repr, twice))} have the same name, as files bear it: rename one")
        for number in {*self.run_folds, *(fold for system in self.systems for fold in system.folds or ())}:
            if not 0 <= number < self.folds:
                raise ValueError(f"there is no fold {number}: folds are numbered 0 to {self.folds - 1}")
        return self
