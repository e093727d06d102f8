"""An encoder with everything that stands on it: opened as what it is, cut along, saved as the same kind of folder.

A classifier, a tagger or a span reader stays one when it is trimmed, cut or distilled; a masked-language model keeps
the head that guesses words. What cannot be carried is refused by name before any work begins. Which structures go and
what is learned afterwards is decided elsewhere (`pruning`, `task_training`); how a head is cut, in `head_surgery`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slonik.compression.head_surgery import adopted_head, cut_task_head, cut_word_head
from slonik.compression.plan import Plan, whole
from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_bytes, sha256_json
from slonik.core.passport import Passport
from slonik.models.anatomy import dissect
from slonik.models.checkpoint_files import read_config_json, read_tensors
from slonik.models.encoder import TorchEncoder
from slonik.models.families import FAMILIES
from slonik.models.kinds import Kind, family_of, kind_of, resolve
from slonik.models.language_model import LanguageModel, load_language_model, save_language_model
from slonik.models.loading import load, save
from slonik.models.task_model import TaskModel, load_task_model, save_task_model
from slonik.models.vocabulary import with_vocabulary_of
from slonik.runtime.tagging.names import NAMES_FILE
from slonik.text import TAGGER_FILE
from slonik.text.pipeline_files import transformer_folder
from slonik.text.task_config import TaskConfig

_BESIDE = (NAMES_FILE, "training_texts.json")
"""Files of a tagger that are neither weights nor settings: what training texts called its names, and their hashes."""
_WORD_HEADS = ("ForMaskedLM", "ForPreTraining")


@dataclass(frozen=True)
class HeadedEncoder:
    """An encoder, and its head if it has one.

    Attributes:
        encoder: its transformer, tokenizer and sentence settings.
        task: the task model that `encoder` is part of; None = no head for a task.
        words: the masked-language model whose body `encoder` wraps; None = no such head.
        beside: further files of the folder, name -> content.
        left_out: what of the folder is not carried, as a sentence; "" where all is.
        refuses: whether the folder refuses texts over its length, which are cut here.
    """

    encoder: TorchEncoder
    task: TaskModel | None = None
    words: LanguageModel | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)
    left_out: str = ""
    refuses: bool = False

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def kind(self) -> str:
        """Words for a sentence: "a classifier of 3 labels"."""
        if self.task is not None:
            return in_words(self.task.config)
        return "a masked-language model" if self.words is not None else "an encoder"

    def identity(self) -> str:
        """sha256 of everything that decides what it computes, its head included."""
        if self.task is not None:
            return sha256_json([self.task.identity(), {name: sha256_bytes(data) for name, data in self.beside.items()}])
        if self.words is not None:
            return sha256_json([self.encoder.identity(), self.words.identity()])
        return self.encoder.identity()

    def on(self, encoder: TorchEncoder, plan: Plan) -> HeadedEncoder:
        """The same head on `encoder`, which was cut out of this one's by `plan`; the head is cut to fit."""
        if self.task is not None:
            head, config = cut_task_head(self.task, encoder, plan)
            return replace(self, encoder=encoder, task=TaskModel(encoder, head, config).eval())
        if self.words is not None:
            words = cut_word_head(self.words, encoder, plan)
            return replace(self, encoder=encoder, words=words)
        return replace(self, encoder=encoder)

    def with_vocabulary_of(self, trimmed: HeadedEncoder) -> HeadedEncoder:
        """This model segmenting as `trimmed` does, which has the teacher's vocabulary cut; see `models.vocabulary`."""
        encoder = with_vocabulary_of(self.encoder, trimmed.encoder)
        if self.task is not None:
            return replace(self, encoder=encoder, task=TaskModel(encoder, self.task.head, self.task.config).eval())
        if trimmed.words is not None:
            plan = whole(trimmed.words.model, with_parent=False)
            return replace(self, encoder=encoder, words=cut_word_head(trimmed.words, encoder, plan))
        return replace(self, encoder=encoder, words=None)

    def taught(self, student: HeadedEncoder) -> HeadedEncoder:
        """`student` with a head that this one can teach: its own if it answers the same, else a copy of this one's.

        Raises:
            SlonikError: heads that do not answer the same, or one that nothing would teach.
        """
        if self.task is None:
            if student.task is not None:
                raise SlonikError(
                    f"{student.name} is {student.kind} and its teacher {self.name} has no head for a task, so the head "
                    "would not be taught and would no longer fit: give a teacher with the same head, or the student's "
                    "encoder alone"
                )
            return student
        if student.task is None:
            if student.words is not None:
                raise SlonikError(
                    f"{student.name} is {student.kind} and would lose its head to that of {self.name}, which is "
                    f"{self.kind}: give its encoder alone, or a student with the same head"
                )
            head, config = adopted_head(self.task, student.encoder)
            return replace(student, task=TaskModel(student.encoder, head, config).eval(), beside=self.beside)
        ours, theirs = student.task.config, self.task.config
        for what in ("target", "labels", "pairs"):
            if getattr(ours, what) != getattr(theirs, what):
                raise SlonikError(
                    f"{student.name} is {student.kind} and its teacher {self.name} is {self.kind}, with other {what} "
                    f"({_few(getattr(ours, what))} against {_few(getattr(theirs, what))}): they must answer the same"
                )
        return student

    def save(self, folder: str | Path, passport: Passport | None = None, *, overwrite: bool = False) -> Path:
        """Write it as the kind of folder that it came from.

        Raises:
            SlonikError: the folder is not empty (and not `overwrite`), or the disk is full.
        """
        passport = passport or self.encoder.passport
        if self.task is not None:
            return save_task_model(self.task, folder, passport, overwrite=overwrite, beside=self.beside)
        if self.words is not None:
            return save_language_model(self.words, folder, passport=passport, overwrite=overwrite)
        way = self.encoder.long_texts
        self.encoder.long_texts = "refuse" if self.refuses else way
        try:
            return save(self.encoder, folder, passport, overwrite=overwrite)
        finally:
            self.encoder.long_texts = way


def _few(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(map(str, value[:5])) or "none"


def in_words(config: TaskConfig) -> str:
    """What a task model is, for a sentence."""
    count = len(config.labels)
    return {
        "single": f"a classifier of {count} labels", "multi": f"a classifier of {count} labels at once",
        "number": "a model that gives a number", "choice": "a model that chooses among candidates",
        "answer": "a model that finds answers in texts", "tags": f"a tagger of {count} tags",
    }.get(config.target, "a task model")  # fmt: skip


def name_of(model: Any) -> str:
    """What a model is called in recipes: its own name, or of a loaded one its folder or name."""
    if isinstance(model, str | Path):
        return str(model)
    inner = getattr(model, "model", None)
    task = model if isinstance(model, TaskModel) else inner if isinstance(inner, TaskModel) else None
    encoder = task.encoder if task is not None else model
    return str(getattr(encoder, "source", None) or getattr(encoder, "name", type(model).__name__))


def open_headed(
    model: Any, doing: str = "cut", *, device: str | None = None, pooling: str | None = None
) -> HeadedEncoder:
    """A model with its head, whatever the folder holds.

    Args:
        model: folder, hub id, `embedded:NAME`, or one that is loaded: an encoder, a task model, a tagger on an encoder,
            a masked-language model.
        doing: for the sentence of a refusal: "cut", "trimmed", "distilled".
        pooling: of a folder that names none, as `models.loading.load` takes it.

    Raises:
        SlonikError: no such model, or one that cannot be carried through: a decoder, an encoder-decoder, a tagger that
            is no encoder, a head of a kind that is not known, a family that is not cut.
    """
    if not isinstance(model, str | Path):
        if pooling is not None:
            raise SlonikError(f"the pooling {pooling!r} is for folders: a loaded encoder has one already")
        return _checked(_in_memory(model, doing), doing)
    kind = kind_of(model)
    _check_kind(kind, doing)
    assert kind.folder is not None
    if doing != "distilled":
        _check_family(str(model), read_config_json(transformer_folder(kind.folder)), doing)
    if kind.name in ("task", "tagger", "head"):
        if pooling is not None:
            raise SlonikError(f"{model} has a head for a task, which decides what it reads: leave out --pooling")
        task = load_task_model(kind.folder, device=device)
        task.encoder.name = str(model)
        return _checked(HeadedEncoder(task.encoder, task=task, beside=_beside(kind.folder)), doing)
    encoder = load(model, device=device, pooling=pooling)
    words = _words_of(model) if kind.architecture.endswith(_WORD_HEADS) else None
    left_out = left_out_of(kind)
    if words is not None:
        return _checked(HeadedEncoder(encoder, words=with_body(words, encoder), left_out=left_out), doing)
    return _checked(HeadedEncoder(encoder, left_out=left_out), doing)


def with_body(words: LanguageModel, encoder: TorchEncoder) -> LanguageModel:
    """The language model with the transformer of `encoder` as its body; they share weights from here on."""
    base: Any = words.model
    setattr(base, base.base_model_prefix, encoder.model)
    base.tie_weights()
    base.to(encoder.device)
    return words


def _words_of(model: str | Path) -> LanguageModel | None:
    language = load_language_model(model, "mlm")
    return language if language.has_head else None


def left_out_of(kind: Kind) -> str:
    """What of a checkpoint for pretraining is not carried, as a sentence; "" where all is."""
    if kind.folder is None or not kind.architecture.endswith("ForPreTraining"):
        return ""
    heads = ("cls.seq_relationship", "sop_classifier", "discriminator_predictions")
    stored = read_tensors(transformer_folder(kind.folder))
    found = sorted({head for head in heads for name in stored if name.startswith(head)})
    return f"{kind.given} was pretrained with {found[0]} too: that head is left out" if found else ""


def _beside(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in _BESIDE if (folder / name).is_file()}


def _in_memory(model: Any, doing: str) -> HeadedEncoder:
    if isinstance(model, TorchEncoder):
        return HeadedEncoder(model)
    folder = getattr(model, "folder", None) or getattr(model, "source", None)
    task = model if isinstance(model, TaskModel) else getattr(model, "model", None)
    if isinstance(task, TaskModel):
        folder = folder or task.encoder.source
        return HeadedEncoder(task.encoder, task=task, beside=_beside(Path(folder)) if folder else {})
    if isinstance(model, LanguageModel) and not model.two_stacks and model.body.config.model_type != "gpt2":
        return HeadedEncoder(model.encoder(), words=model)
    raise SlonikError(f"a {type(model).__name__} cannot be {doing}: give a folder, a hub id, or a loaded encoder")


def _check_kind(kind: Kind, doing: str) -> None:
    """Refuse what has no encoder to work on, or a head that would be lost."""
    if kind.name in ("baseline",) or kind.folder is None:
        resolve(kind.given)  # a baseline has a sentence of its own
        raise SlonikError(f"{kind.given} is {kind}: it has no weights that can be {doing}")
    if (kind.folder / TAGGER_FILE).is_file():
        raise SlonikError(
            f"{kind.given} is a tagger without a transformer: it cannot be {doing}; train a smaller one with "
            "`slonik finetune --task ner` instead"
        )
    vectors = doing == "distilled" and (kind.name == "head" or not (kind.writes or kind.stack == "encoder-decoder"))
    if kind.in_words and not vectors:
        raise SlonikError(
            f"{kind.given} is {kind}, and only encoders can be {doing}: `slonik export --int8 dynamic` makes a smaller "
            "file of it"
        )
    check_head(kind, doing)


def check_head(kind: Kind, doing: str) -> None:
    """Refuse an encoder with a head that would be lost.

    Raises:
        SlonikError: a class that is neither a bare model nor known.
    """
    bare = not kind.architecture or kind.architecture.endswith(("Model", *_WORD_HEADS))
    if kind.name == "encoder" and not bare:
        raise SlonikError(
            f"{kind.given} is a {kind.architecture}, whose head is of a kind that slonik does not know and would lose: "
            f"it cannot be {doing}; save its encoder alone with AutoModel in transformers, and take that"
        )


def _checked(headed: HeadedEncoder, doing: str) -> HeadedEncoder:
    headed = _cutting_long_texts(headed)
    if doing == "distilled":  # changes no shape
        return headed
    model = headed.encoder.model
    _check_family(headed.name, model.config.to_dict(), doing)
    body = dissect(model)
    if not body.cuttable:
        raise SlonikError(f"{headed.name} is an encoder with a decoder ({body.anatomy.family}): it cannot be {doing}")
    try:
        _ = body.axes  # every parameter is known, or the model is refused before any work
    except SlonikError as error:
        raise SlonikError(f"{headed.name} cannot be {doing}: {error}") from None
    return headed


def _cutting_long_texts(headed: HeadedEncoder) -> HeadedEncoder:
    """Corpora have texts over any length: where a folder refuses them they are cut, and it is said."""
    encoder = headed.encoder
    if headed.task is not None or encoder.long_texts != "refuse":
        return headed
    cutting = TorchEncoder(
        encoder.model, encoder.tokenizer, encoder.sentence, encoder.passport, name=encoder.name, source=encoder.source,
        long_texts="truncate", autocast=encoder.autocast,
    )  # fmt: skip
    said = (
        f"{headed.name} refuses texts over its length: here they are cut, and what is made of it refuses them as before"
    )
    left_out = f"{headed.left_out}; {said}" if headed.left_out else said
    return replace(headed, encoder=cutting, refuses=True, left_out=left_out)


def _check_family(name: str, config: Mapping[str, Any], doing: str) -> None:
    """Refuse a family whose parts are not known, by its config alone.

    Raises:
        SlonikError: it says which families are known, and what can be done with others.
    """
    family = family_of(str(config.get("model_type", "")))
    known = FAMILIES.get(family)
    if known is not None and known.cuttable:
        return
    own = "brings its own Python code" if config.get("auto_map") else "is of a family whose parts slonik does not know"
    if known is not None:
        own = "is a decoder"
    families = ", ".join(sorted(row.family for row in FAMILIES.values() if row.cuttable))
    raise SlonikError(
        f"{name} {own} ({family or 'no model_type'}) and cannot be {doing}: {families} can; slonik distill makes a "
        "student of these like it, with it as the teacher, where slonik.load opens it"
    )
