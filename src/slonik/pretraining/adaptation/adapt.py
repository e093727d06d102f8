"""Train a checkpoint on with the texts of a domain: encoders as RuCyBERT was, decoders as newsGPT was, and T5s.

Source: the practice of RuCyBERT (RuBERT trained on with masked words of 500,000 security news) and newsGPT. Stages,
each done once and kept: a language-model head where the checkpoint has none (tied to the embeddings, trained first on
general texts with the body frozen); the body on the domain. Bits per byte on held-out texts of the domain and of
general language, before and after, show what was learned and what was forgotten; "before" is the original with its own
vocabulary, whatever it is changed to. Pooling, prefixes and length of a sentence encoder survive. With a teacher the
body learns its guesses too, and may be a part of it, as in DistilBERT (see `distilbert`). Under torchrun the first
process prepares, all train, the first measures and writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slonik.compression.headed import open_headed
from slonik.core.config import build_config, configure, fields_of
from slonik.core.errors import SlonikError
from slonik.core.identity import checkpoint_identity
from slonik.core.progress import shown
from slonik.core.run import Announce, Result, Run, say, silent
from slonik.data.given import Given, Texts
from slonik.models.encoder import TorchEncoder
from slonik.models.kinds import resolve
from slonik.models.language_model import LanguageModel, load_language_model, natural_objective
from slonik.models.task_model import TaskModel
from slonik.pretraining.adaptation.config import AdaptConfig, LoraSettings
from slonik.pretraining.adaptation.data import (
    LEAST_HELD_OUT,
    LEAST_OF_GENERAL,
    adapt_texts,
    head_texts,
    new_vocabulary,
)
from slonik.pretraining.adaptation.kept_head import kept_head
from slonik.pretraining.adaptation.objective import check_low_rank, denoising_of, teacher_of
from slonik.pretraining.adaptation.report import markdown_table
from slonik.pretraining.adaptation.stages import Plan, Stages, objective_name
from slonik.pretraining.corpus import CorpusSettings, check_corpus, check_size, check_vocabulary, files_identity
from slonik.text.tokenizers.token_facts import token_facts
from slonik.train.processes import Processes


@dataclass(frozen=True, kw_only=True)
class Adaptation(Result):
    """What `adapt` made.

    Attributes:
        records: bits per byte and its changes.
        table: the same as Markdown.
    """

    table: str


def adapt(
    model: str | Path | TorchEncoder | TaskModel,
    *,
    out: str | Path,
    corpus: Texts = (),
    general: Texts = (),
    recipe: str | Path | Mapping[str, Any] | None = None,
    objective: str | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    new_words: int | None = None,
    tokenizer: str | Path | None = None,
    every: int | None = None,
    lora: int | None = None,
    teacher: str | Path | None = None,
    apart: Sequence[str] = (),
    language: str | None = None,
    column: str | None = None,
    task_head: str | None = None,
    seed: int | None = None,
    set: Mapping[Any, Any] | Sequence[str] = (),
    progress: bool = False,
    announce: Announce | None = None,
) -> Adaptation:
    """Train a model on with the texts of a domain; the same call after a crash goes on.

    Options that are not given are those of the recipe, else the defaults of `AdaptConfig`.

    Args:
        model: folder, hub id, embedded:NAME, or a loaded encoder.
        out: folder for the adapted checkpoint.
        corpus: texts of the domain: files or folders, hub:OWNER/NAME, or texts, each a document.
        general: other texts, for a missing head, and to see what is forgotten.
        recipe: YAML file, or its content.
        objective: mlm, clm or denoising; default: the model's own.
        steps: of the optimizer. epochs: passes over the domain corpus, where no steps are given.
        new_words: so many whole words of the domain become tokens. tokenizer: folder with a whole new tokenizer.
        every: keep the first of every so many layers.
        lora: rank of low-rank matrices that are trained beside the weights, and added to them in the end.
        teacher: masked-language model whose guesses are learned too.
        apart: sources of the corpus to report apart.
        language: of the corpora; "any" = not checked. column: field or column with the texts.
        task_head: of a model with a head for a task: "keep" it as it is, untaught, or "drop" it; without a word such a
            model is refused.
        set: further fields: "key=value", or names of fields -> values.
        progress: show bars and steps on standard error.
        announce: called with a line as steps begin and end, instead.

    Raises:
        SlonikError: as `run_adapt`.
    """
    given, at = Given(out), fields_of(AdaptConfig)
    others, other = given.texts("general", general), fields_of(CorpusSettings, at.general)
    fields: dict[Any, Any] = {
        at.model: given.model("model", model, _save), at.out: str(out), at.objective: objective, at.seed: seed,
        at.corpus.files: given.texts("corpus", corpus) or None, at.corpus.language: language, at.corpus.column: column,
        other.files: others or None, other.language: language if others else None, at.train.max_steps: steps,
        at.train.epochs: epochs, at.vocabulary.new_words: new_words,
        at.vocabulary.tokenizer: str(tokenizer) if tokenizer else None, at.every: every,
        at.teacher: str(teacher) if teacher else None, at.apart: list(apart) or None,
        at.task_head: task_head, fields_of(LoraSettings, at.lora).rank: lora,
    }  # fmt: skip
    config = configure(AdaptConfig, recipe, fields, set)
    with shown(progress):
        return run_adapt(config, announce or (say if progress else silent), given=given)


def _save(model: Any, folder: Path) -> None:
    open_headed(model, "distilled").save(folder)


def run_adapt(config: AdaptConfig, announce: Announce = silent, *, given: Given | None = None) -> Adaptation:
    """Adapt `config.model` and write the checkpoint to `config.out`; see `adapt`.

    Args:
        announce: called with one line for the user as steps begin and end.
        given: what is in memory and the configuration names.

    Raises:
        SlonikError: no such model, an empty or too short corpus or one in another language, a tokenizer without the
            tokens that the objective needs, a length beyond the model's, `out` is taken.
    """
    processes, given = Processes(config.train.device), given or Given(config.out)
    reads = [config.model, config.teacher, config.vocabulary.tokenizer, *config.corpus.files]
    reads += config.general.files if config.general is not None else ()
    with Run(
        config.out, command="adapt", config=given.told(config.model_dump(mode="json")), seed=config.seed,
        announce=announce, reads=[name for name in reads if name not in given.said], main=processes.main,
    ) as frame:  # fmt: skip
        if processes.main:
            given.write(frame)
        processes.wait()
        keep = kept_head(config, frame.announce)
        config = with_objective(config)
        frame.config = given.told(config.model_dump(mode="json"))
        language = load_language_model(config.model, objective_name(config), seed=config.seed)
        _check(config, language)
        processes.from_first(lambda: _check_corpora(config))
        inputs = processes.from_first(lambda: _inputs(config, frame))
        vocabulary = new_vocabulary(config, language, processes)
        teacher = teacher_of(config, language)
        tokenizer = language.tokenizer if vocabulary is None else vocabulary.changed.tokenizer
        name = config.vocabulary.tokenizer or f"the tokenizer of {config.model}"
        processes.from_first(lambda: check_vocabulary(config.corpus, tokenizer, name))
        texts = adapt_texts(config, tokenizer, frame.folder, processes)
        for_head = texts.general
        if vocabulary is not None and not language.has_head and config.head.first:
            for_head = head_texts(config, language.tokenizer, frame.folder, processes)
        plan = Plan(language, vocabulary, teacher, texts, for_head, inputs, keep)
        records, summary = Stages(config, plan, frame, processes).finish()
        processes.wait()
    return Adaptation(
        checkpoint=frame.out, records=tuple(records), summary=summary, seconds=frame.seconds,
        table=markdown_table(records),
    )  # fmt: skip


def _check(config: AdaptConfig, language: LanguageModel) -> None:
    """Refuse before any work what the model cannot do."""
    if config.max_length > language.max_length:
        raise SlonikError(
            f"sequences of {config.max_length} tokens are longer than the {language.max_length} positions of "
            f"{config.model}: lower max_length"
        )
    facts = token_facts(language.tokenizer, language.names)
    facts.need("mask" if config.objective == "mlm" else "eos", f"the objective {config.objective}")
    if config.objective == "denoising":
        denoising_of(config, facts)
    layers = int(language.model.config.num_hidden_layers)
    if config.every is not None and config.every > layers:
        raise SlonikError(
            f"every is {config.every}, and {config.model} has {layers} layers: the first of every 2 to {layers} can be "
            "kept"
        )
    check_low_rank(config, language)


def _check_corpora(config: AdaptConfig) -> None:
    """Refuse before any work corpora that are too short, in another language, or not what was named."""
    check_corpus(config.corpus)
    if config.general is not None:
        check_corpus(config.general)
    check_size(config.corpus, length=config.max_length, least=LEAST_HELD_OUT, apart=config.apart)
    if config.general is not None:
        check_size(config.general, length=config.max_length, least=LEAST_OF_GENERAL, name="general")


def _inputs(config: AdaptConfig, frame: Run) -> dict[str, Any]:
    """Identities of what the user gave."""
    inputs = {
        "model": frame.input("model", checkpoint_identity(resolve(config.model))),
        "corpus": frame.input("corpus", files_identity(config.corpus)),
    }
    if config.general is not None:
        inputs["general"] = frame.input("general", files_identity(config.general))
    if config.teacher is not None:
        inputs["teacher"] = frame.input("teacher", checkpoint_identity(resolve(config.teacher)))
    return inputs


def with_objective(config: AdaptConfig) -> AdaptConfig:
    """The recipe with the model's own objective where it names none.

    Raises:
        SlonikError: no such model, or fields that this objective does not go with.
    """
    if config.objective is not None:
        return config
    found = natural_objective(config.model)
    return build_config(
        AdaptConfig, config.model_dump(exclude_unset=True) | {"objective": found}, source=f"adapting {config.model}"
    )
