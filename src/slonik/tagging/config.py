"""Settings of training taggers: which network, on which annotations, from which teacher; and of the whole ladder."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from slonik.core.config import Config, Seed
from slonik.data.annotations.document import LabelMapping
from slonik.finetuning.config import Tuning
from slonik.tagging.models.bilstm import BiLstmConfig
from slonik.tagging.models.feature_crf import CrfConfig

Kind = Literal["crf", "bilstm", "encoder", "ensemble"]

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
    leave_out: bool = False
    """Unlabelled texts with a line of a test text are left out of the training of that fold, instead of refused."""
    crossfit: int = Field(0, ge=0)
    """In a ladder: so many copies of the teacher, each trained without a part of the texts, teach that part; 0 = the
    teacher itself teaches the texts that it was trained on (2 or more cost as many trainings of the teacher)."""


class Substitution(Config):
    """Copies of the lines that hold names, with other names in their places (`slonik.tagging.substitution`)."""

    labels: tuple[str, ...] | None = None
    """Whose names are replaced; None = those that a gazetteer or `unlabelled` has names of."""
    copies: int = Field(1, ge=1)
    share: float = Field(1.0, gt=0, le=1)
    """Of the names of these labels that are replaced in a copy."""
    from_texts: bool = True
    """Draw from the names of other training texts too."""
    unlabelled: tuple[str, ...] = ()
    """Texts whose names, where a word introduces them as one does in the training texts, are drawn too."""


class First(Config):
    """Annotated texts of another kind, on which a network is trained before."""

    data: str
    """A BRAT folder, CoNLL, JSONL spans (silver labels: what `slonik tag` writes), Hugging Face rows."""
    format: str | None = None
    mapping: LabelMapping = LabelMapping()
    """Their labels to those of the texts that follow; what maps to none of them is left out, counted."""
    epochs: float = Field(2.0, gt=0)


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
    layers: int | None = Field(None, ge=1)
    """Of an encoder: keep its lowest so many layers, leave the others out (cheaper to train and to run); None = all."""
    gazetteers: dict[str, tuple[str, ...]] = {}
    """Label -> text files with a name a line, from outside the training texts."""
    substitution: Substitution | None = None
    """Train on copies of lines with other names in the places of theirs too."""
    first: First | None = None
    """Of a network: annotated texts of another kind to train on before."""
    context: int = Field(0, ge=0)
    """Of a network: tokens (of a BiLSTM words) of the text on either side of what a window labels, in training as in
    tagging; 0 = none in training, and half of `overlap` in tagging."""
    balanced: bool = True
    """Names have both of their quotation marks and brackets, or neither."""
    members: tuple[str, ...] = ()
    """Of an ensemble: folders of taggers, or names of systems before it."""
    nested: bool = False
    """Of an encoder: a head over stretches of words, whose entities may lie within one another."""
    width: int = Field(16, ge=1)
    """With `nested`: the most words of an entity."""
    descriptions: dict[str, str] = {}
    """With `nested`: label -> what it is, in words that the encoder reads; without one its name is read."""
    hand: CrfConfig = CrfConfig()
    """Of a CRF over hand features: penalties (l1, l2), iterations, clusters of words."""
    vectors: str | None = None
    """Of a BiLSTM: word vectors instead of navec's: a file (word2vec, fastText) or a folder of `slonik words train`."""
    sizes: BiLstmConfig = BiLstmConfig()
    """Of a BiLSTM; its `crf`, `names` and `balanced` are the fields above."""
    tuning: dict[str, Any] = {}
    """Fields of `Tuning` over the defaults of the kind."""
    lesson: Distillation | None = None
    folds: tuple[int, ...] | None = None
    """Folds to run; None = those of the ladder."""
    optional: bool = False
    """Leave the system out, saying so, where its model folder is absent."""

    @field_validator("gazetteers", mode="before")
    @classmethod
    def _files(cls, value: Any) -> Any:
        """One file may stand without a list around it."""
        if not isinstance(value, dict):
            return value
        empty = next((label for label, files in value.items() if files in ("", [], ())), None)
        if empty is not None:
            raise ValueError(f"the gazetteer of {empty} names no file: name one, or leave it out")
        return {label: [files] if isinstance(files, str) else files for label, files in value.items()}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "encoder" and self.model is None:
            raise ValueError(f"the system {self.name!r} is an encoder: say which (model)")
        if self.kind == "crf" and self.lesson is not None:
            raise ValueError(f"the system {self.name!r} is a CRF over features, which takes hard labels only")
        self._check_idle()
        self._check_spans()
        self._check_names()
        self.full_tuning()
        return self

    def _check_idle(self) -> None:
        """Refuse settings that taggers of this kind do not read."""
        for name in _IDLE[self.kind]:
            if self._differs(name):
                raise ValueError(f"the system {self.name!r} is {_CALLED[self.kind]}: it has no use for {_hint(name)}")
        idle = sorted(_IDLE_TUNING[self.kind] & {name for name, value in self.tuning.items() if value is not None})
        if idle:
            raise ValueError(
                f"the system {self.name!r} is {_CALLED[self.kind]}: it has no use for tuning.{idle[0]}"
                + ("; its passes are hand.iterations" if self.kind == "crf" else "")
            )

    def _differs(self, name: str) -> bool:
        """Whether a field says otherwise than its default: one that says the same asks for nothing."""
        return bool(getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True))

    def _check_spans(self) -> None:
        """Refuse settings that a span head, or a tagger without one, does not read."""
        if not self.nested:
            idle = [name for name in ("width", "descriptions") if self._differs(name)]
            if idle:
                raise ValueError(f"the system {self.name!r} has no span head, which `{idle[0]}` is for: set nested")
            return
        if self.kind != "encoder":
            called = _CALLED[self.kind]
            raise ValueError(f"the system {self.name!r} is {called}: entities within entities need an encoder")
        idle = [name for name in _IDLE_NESTED if self._differs(name)]
        if idle:
            what = "a teacher" if idle[0] == "lesson" else idle[0]
            raise ValueError(f"the system {self.name!r} is nested: a span head has no use for {what}, leave it out")

    def _check_names(self) -> None:
        """Refuse an ensemble of nothing, and a substitution without names to put in."""
        if self.kind == "ensemble" and len(self.members) < 2:
            raise ValueError(f"the system {self.name!r} is an ensemble: name two taggers or more (members)")
        twice = next((name for name in self.members if self.members.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"the system {self.name!r} is an ensemble and has the member {twice!r} twice: name it once"
            )
        made = self.substitution
        if self.gazetteers and not self.names and made is None and self.kind != "crf":
            raise ValueError(f"the system {self.name!r} has gazetteers, and reads no lists (names): leave one out")
        if made is None:
            return
        if not (made.from_texts or made.unlabelled or self.gazetteers):
            raise ValueError(
                f"the system {self.name!r} puts other names in the places of its own, and has none: give gazetteers, "
                "substitution.unlabelled, or substitution.from_texts"
            )
        if made.labels is None and not (made.unlabelled or self.gazetteers):
            raise ValueError(
                f"the system {self.name!r} puts other names in the places of its own: say whose (substitution.labels), "
                "or give gazetteers"
            )

    @property
    def file_name(self) -> str:
        """Its name as files and folders bear it."""
        return "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in self.name)

    def settings(self) -> dict[str, Any]:
        """The fields that decide the weights of a tagger of this kind: no other trains anything anew.

        Model, teacher and unlabelled texts are no names here: what they hold decides (`fit.Job.inputs`).
        """
        elsewhere = {"name", "model", "folds", "optional", "members", "vectors", *_IDLE[self.kind]}
        elsewhere |= {"hand"} if self.kind != "crf" else {"tuning", "lesson"}
        elsewhere |= {*_IDLE_NESTED} if self.nested else {"nested", "width", "descriptions"}
        paths = {
            "lesson": {"teacher", "unlabelled"}, "substitution": {"unlabelled"}, "first": {"data"},
            "hand": {"advisers"},
        }  # fmt: skip
        inside = {name: fields for name, fields in paths.items() if name not in elsewhere}
        found = self.model_dump(mode="json", exclude={**dict.fromkeys(elsewhere, True), **inside})
        if "gazetteers" in found:
            found["gazetteers"] = {label: len(files) for label, files in self.gazetteers.items()}
        if self.kind in ("crf", "ensemble"):
            return found
        return found | {"tuning": self.full_tuning().model_dump(mode="json", exclude={"save_every_minutes"})}

    def full_tuning(self) -> Tuning:
        """The training settings: those given over the defaults of the kind."""
        defaults = ENCODER_TUNING if self.kind == "encoder" else BILSTM_TUNING
        defaults = SPAN_TUNING if self.nested else defaults
        return Tuning(**{**defaults, **self.tuning})


_CALLED = {
    "crf": "a CRF over hand features", "bilstm": "a BiLSTM", "encoder": "an encoder", "ensemble": "an ensemble",
}  # fmt: skip
_IDLE: dict[str, tuple[str, ...]] = {
    "crf": ("model", "crf", "names", "all_layers", "layers", "sizes", "first", "context", "members", "vectors"),
    "bilstm": ("model", "all_layers", "layers", "hand", "members"),
    "encoder": ("sizes", "hand", "members", "vectors"),
    "ensemble": (
        "model", "crf", "names", "all_layers", "layers", "sizes", "hand", "lesson", "gazetteers", "substitution",
        "first", "context", "nested", "vectors",
    ),
}  # fmt: skip
_IDLE_NESTED = ("crf", "names", "lesson", "gazetteers", "substitution", "context", "balanced")
_OF_INPUTS = {
    "max_length", "layer_decay", "encoder_dropout", "masked_pieces", "freeze", "head", "shape", "pairs", "lora",
    "lora_alpha", "class_weights",
}  # fmt: skip
_IDLE_TUNING: dict[str, frozenset[str]] = {
    "crf": frozenset(Tuning.model_fields), "bilstm": frozenset(_OF_INPUTS),
    "encoder": frozenset({"shape", "pairs", "class_weights"}), "ensemble": frozenset(Tuning.model_fields),
}  # fmt: skip


def _hint(name: str) -> str:
    """A field, and where what it says can be said for a CRF over hand features."""
    return f"{name} (say hand.names)" if name == "names" else name


class TaggerRecipe(Config):
    """What `slonik finetune MODEL --task ner` reads."""

    data: str
    """Annotated texts: a BRAT folder, CoNLL, JSONL spans, Hugging Face rows."""
    format: str | None = None
    out: str
    system: System
    mapping: LabelMapping = LabelMapping()
    stopping: float = Field(0.1, gt=0, lt=1)
    """Share of the documents that is the development set, which chooses the checkpoint and calibrates confidences."""
    overlap: int = Field(32, ge=0)
    """Tokens that neighbouring windows of a long text share; of encoders (a BiLSTM has sizes.overlap)."""
    partial: bool = False
    """The texts are annotated in part: what is not marked is unknown, not "no entity"."""
    entity_share: float = Field(0.1, gt=0, lt=1)
    """Of texts annotated in part: the share of words in entities that training expects."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _reads_all(self) -> Self:
        lesson = self.system.lesson
        if lesson is not None and (lesson.crossfit or lesson.leave_out):
            what = "crossfit" if lesson.crossfit else "leave_out"
            raise ValueError(f"lesson.{what} is for a ladder (`slonik study ner`), which has folds: leave it out")
        if self.overlap != type(self).model_fields["overlap"].default and self.system.kind != "encoder":
            more = ": a BiLSTM's is system.sizes.overlap" if self.system.kind == "bilstm" else ""
            raise ValueError(f"overlap is of encoders{more}; leave it out")
        if self.partial and self.system.kind == "ensemble":
            raise ValueError("an ensemble is trained on nothing, so partial does nothing for it: leave it out")
        if self.partial and self.system.kind == "crf":
            raise ValueError(
                "a CRF over hand features takes whole annotations only: partial needs bilstm or an encoder"
            )
        if self.partial and self.system.nested:
            raise ValueError("a span head takes whole annotations only: leave partial or nested out")
        return self


class LadderRecipe(Config):
    """What `slonik study ner` reads."""

    data: str
    format: str | None = None
    out: str
    mapping: LabelMapping = LabelMapping()
    folds: int = Field(5, ge=2)
    fold_seed: Seed = 0
    run_folds: tuple[int, ...] = (0,)
    """The folds whose documents are the test set in turn, for systems that do not say otherwise."""
    seeds: int = Field(1, ge=1)
    """Trainings of each system on each fold, with seed, seed + 1, ...: values are means over them."""
    kept_fold: int | None = None
    """A fold that nothing sees until the end: neither trained on nor tested, until it is asked for."""
    learning: tuple[float, ...] = ()
    """Shares of the training texts for the learning curve, e.g. [0.1, 0.25, 0.5]; all of them is run anyway."""
    systems: tuple[System, ...]
    stopping: float = Field(0.1, gt=0, lt=1)
    overlap: int = Field(32, ge=0)
    seed: Seed = 0

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.systems:
            raise ValueError("the recipe names no systems: see recipes/ner_seccoll.yaml")
        nameless = next((number for number, one in enumerate(self.systems) if not one.file_name.strip("-.")), None)
        if nameless is not None:
            raise ValueError(
                f"systems.{nameless} is called {self.systems[nameless].name!r}: give it a name with letters"
            )
        if not self.run_folds or any(system.folds == () for system in self.systems):
            raise ValueError("a list of folds to run is empty, so nothing would be tested: name some, or leave it out")
        names = [system.file_name for system in self.systems]
        twice = [system.name for system in self.systems if names.count(system.file_name) > 1]
        if twice:
            raise ValueError(f"{' and '.join(map(repr, twice))} have the same name, as files bear it: rename one")
        if any(not 0 < share < 1 for share in self.learning):
            raise ValueError("learning has shares of the training texts, above 0 and below 1: all is run anyway")
        if len(set(self.learning)) < len(self.learning):
            raise ValueError(f"learning has a share twice ({list(self.learning)}): name each once")
        for number in {
            *self.run_folds, *([self.kept_fold] if self.kept_fold is not None else []),
            *(fold for system in self.systems for fold in system.folds or ()),
        }:  # fmt: skip
            if not 0 <= number < self.folds:
                raise ValueError(f"there is no fold {number}: folds are numbered 0 to {self.folds - 1}")
        return self
