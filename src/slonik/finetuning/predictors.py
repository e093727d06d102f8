"""What answers rows of a task: a fine-tuned model, a baseline, or a model that answers in words as it is.

Used by `predict` and by `evaluate russian-superglue`. Nothing is trained here but baselines, which are fitted to the
data that is named. Torch is imported when a model needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slonik.core.errors import SlonikError, lookup, unknown_name
from slonik.core.numbers import check_count, check_seed
from slonik.core.progress import warn_once
from slonik.core.protocols import LongTexts
from slonik.evaluation.russian_superglue.baselines import BASELINES, fit
from slonik.evaluation.russian_superglue.parts import Part, find_part
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.readers import parse_row, read_examples
from slonik.evaluation.russian_superglue.submission import official_rows
from slonik.evaluation.russian_superglue.tasks import TASKS, Example, items_hash
from slonik.finetuning.foreign import mapped
from slonik.finetuning.learner import TaskAnswerer
from slonik.finetuning.own import answer_rows
from slonik.finetuning.own_rows import read_row
from slonik.finetuning.row_predictor import OnnxAnswerer, RowPredictor
from slonik.finetuning.tasks import LEARNED_FROM, answers_of, items_of, task_config
from slonik.models.kinds import is_exported, kind_of
from slonik.runtime import open_model
from slonik.runtime.task_model import OnnxTaskModel
from slonik.text import TASK_FILE
from slonik.text.label_map import is_foreign
from slonik.text.lines import read_json
from slonik.text.pairs import PairTokenizer
from slonik.text.task_config import TaskConfig, stock_kind

if TYPE_CHECKING:
    from slonik.models.generation import TextGenerator
    from slonik.models.task_model import TaskModel

Row = Mapping[str, Any]
AnswerExamples = Callable[[Sequence[Example]], list[Prediction]]


class Predictor(Protocol):
    """Rows of one task to answers."""

    @property
    def columns(self) -> Sequence[str]:
        """Where the texts of a row are."""
        ...

    def read(self, row: Row, where: str) -> Any:
        """A row checked, ready to answer.

        Raises:
            SlonikError: a missing or wrong field; `where` names the line.
        """
        ...

    def answer(self, given: Sequence[Any], *, probabilities: bool) -> list[dict[str, Any]]:
        """One object per row, in their order."""
        ...


def open_predictor(
    task: str | None,
    model: str,
    *,
    batch_size: int = 32,
    train_data: Path | None = None,
    data_dir: Path | None = None,
    seed: int = 0,
    long_texts: LongTexts | None = None,
) -> Predictor:
    """The predictor for a task and a MODEL: a model with a head (folder or hub id; exported ones run without torch), a
    baseline's name, or a model that answers in words.

    Args:
        task: None = that of the model.
        train_data: labelled file that a baseline is fitted to; without it, the task's training data in `data_dir`.
        long_texts: what happens to texts over the model's length; None = the model's own way.

    Raises:
        SlonikError: no such task or model, or a model of another task.
    """
    check_seed(seed)
    check_count("batch_size", batch_size)
    if model in BASELINES and not Path(model).is_dir():
        if task is None:
            raise SlonikError(f"{model} is a baseline, which has no task of its own: say which, for example terra")
        if long_texts is not None:
            raise SlonikError(f"{model} is a baseline, which cuts no texts: leave --long-texts out")
        examples = _training(task, model, train_data, data_dir)
        return OfficialPredictor(task, fit(model, lookup(task, TASKS, "task").id, examples, seed=seed))
    place = _place(model)
    folder = task_folder(place, task) if place is not None else None
    if folder is None:
        if task is None and place is not None and (place / "config.json").is_file() and not kind_of(place).in_words:
            raise SlonikError(
                f"{model} is an encoder without a head, which gives vectors and no answers: make a model that answers "
                f"with `slonik finetune {model} --task ...`, or your own data (--train)"
            )
        if task is None and place is not None and not (place / "config.json").is_file():
            raise SlonikError(f"{model} has no config.json: it is no checkpoint folder, or holds several of them")
        if task is None:
            raise SlonikError(
                f"{model} has no task of its own, or several: say which, for example `slonik predict terra {model}`"
            )
        if long_texts is not None:
            raise SlonikError(
                f"{model} answers in words, and its prompts are cut as it was trained: leave out --long-texts"
            )
        return OfficialPredictor(task, examples_answerer(_as_it_is(task, model), task, batch_size))
    config = TaskConfig.read(folder)
    named = task or config.task
    check_task(config, named, str(folder))
    return predictor_of(for_task(load_answerer(folder), named, model), named, batch_size, long_texts)


def _place(model: str) -> Path | None:
    """The folder in which a task model may lie; None for a model that answers in words as it is.

    Raises:
        SlonikError: there is no such model.
    """
    if Path(model).is_dir():
        return Path(model)
    if "/" not in model and not model.startswith("embedded:"):
        raise SlonikError(f"there is no folder {model}; {unknown_name(model, list(BASELINES), 'baseline')}")
    kind = kind_of(model)
    return kind.folder if kind.name in ("head", "task", "tagger") else None


def predictor_of(answerer: TaskAnswerer, task: str, batch_size: int, long_texts: LongTexts | None = None) -> Predictor:
    """The predictor for a task and a model of that task.

    Raises:
        SlonikError: `long_texts` for a model that is not asked with it.
    """
    if task in TASKS or answerer.config.kind == "text2text":
        if long_texts is not None:
            raise SlonikError(f"the rows of {task} are cut as its model was trained: leave --long-texts out")
        if task in TASKS:
            return OfficialPredictor(task, examples_answerer(answerer, task, batch_size), answerer)
        return OwnPredictor(answerer, batch_size)
    return RowPredictor(answerer.model, batch_size, long_texts)  # type: ignore[attr-defined]


def cut_rows(answerer: TaskAnswerer) -> int:
    """How many rows a model with a head has cut since it was loaded; what answers in words says so itself."""
    inner = getattr(answerer, "inner", answerer)  # of a model that was trained elsewhere
    pairs = getattr(getattr(inner, "model", None), "pairs", None)
    return pairs.cut_rows if isinstance(pairs, PairTokenizer) else 0


def cut_sentence(predictor: Predictor, rows: int) -> str | None:
    """What is to be said of rows that were cut; None where there are none.

    Args:
        rows: how many were read.
    """
    cut = getattr(predictor, "cut_rows", 0)
    if not cut:
        return None
    choice = " (--long-texts average reads all)" if isinstance(predictor, RowPredictor) else ""
    return (
        f"{cut:,} of {rows:,} rows are longer than the {getattr(predictor, 'max_tokens', None)} tokens that the model "
        f"reads, and were cut{choice}"
    )


def _as_it_is(task: str, model: str) -> TaskAnswerer:
    if not kind_of(model).in_words:
        how = f"slonik finetune {model} --task {task}"
        raise SlonikError(f"{model} is an encoder without a head for {task}: make one with `{how}`")
    from slonik.models.generation import load_generator

    return answerer_of(load_generator(model), task)


def answerer_of(model: TaskModel | OnnxTaskModel | TextGenerator, task: str) -> TaskAnswerer:
    """A loaded model: a task model, or one that answers the prompts of an official task as it is.

    Raises:
        SlonikError: a model of another task, an unknown task, or no such model.
    """
    if isinstance(model, OnnxTaskModel):
        check_task(model.config, task, model.name)
        return for_task(OnnxAnswerer(model), task, model.name)
    from slonik.finetuning.encoder_learner import EncoderAnswerer
    from slonik.finetuning.language_model_learner import KIND, LanguageModelAnswerer
    from slonik.models.generation import TextGenerator
    from slonik.models.task_model import TaskModel

    if isinstance(model, TaskModel):
        check_task(model.config, task, model.name)
        return for_task(EncoderAnswerer(model), task, model.name)
    if not isinstance(model, TextGenerator):
        raise SlonikError(f"a {type(model).__name__} answers no task: give a task model, a generator, or a folder")
    return LanguageModelAnswerer(model, TaskConfig(kind=KIND, task=lookup(task, TASKS, "task").id, target="text"))


def for_task(answerer: TaskAnswerer, task: str, name: str) -> TaskAnswerer:
    """A model on an official task: itself, or one that was trained elsewhere with its labels mapped.

    Raises:
        SlonikError: its labels, or what it gives, do not fit the task.
    """
    if task not in TASKS or not is_foreign(answerer.config):
        return answerer
    return mapped(answerer, task_config(task), name)


def load_answerer(folder: Path) -> TaskAnswerer:
    """The task model in `folder`, whatever answers in it.

    Raises:
        SlonikError: it is no task model, or damaged.
    """
    config = TaskConfig.read(folder)
    if is_exported(folder) and config.kind != "text2text":
        model = open_model(folder)
        assert isinstance(model, OnnxTaskModel)
        return OnnxAnswerer(model)
    if config.kind == "text2text":
        from slonik.finetuning.language_model_learner import LanguageModelAnswerer
        from slonik.models.generation import load_generator

        labels = tuple(config.details.get("answers") or ())
        if config.target == "text" and labels:  # as these folders were written before they had a target of their own
            config = config.model_copy(update={"target": "single", "labels": labels})
        return LanguageModelAnswerer(load_generator(folder), config)
    from slonik.finetuning.encoder_learner import EncoderAnswerer
    from slonik.models.task_model import load_task_model

    return EncoderAnswerer(load_task_model(folder))


def examples_answerer(answerer: TaskAnswerer, task: str, batch_size: int) -> AnswerExamples:
    """A task model as a function from official examples to predictions."""
    config = answerer.config
    prompts = str(config.details.get("prompts", "plain")) if config.kind == "text2text" else None

    def answered(examples: Sequence[Example]) -> list[Prediction]:
        items = items_of(task, examples, config.pairs, prompts=prompts)
        return answers_of(task, examples, answerer.answer(items, batch_texts=batch_size))

    return answered


def answer_part(model: Path | TaskModel | TextGenerator, part: Part) -> list[Prediction]:
    """Answers of a task model, in a folder or loaded, to the items of one part.

    Raises:
        SlonikError: a model of another task, a damaged folder, or one that has learned from these items.
    """
    task = part.task.id
    if isinstance(model, Path):
        check_task(TaskConfig.read(model), task, str(model))
    answerer = for_task(load_answerer(model), task, str(model)) if isinstance(model, Path) else answerer_of(model, task)
    if answerer.config.details.get(LEARNED_FROM) == items_hash(part.examples):
        raise SlonikError(
            f"{model} was cross-fitted on these very items and has learned from most of them: score what its folds "
            f"answered, a folder in {model}/predictions"
        )
    found = examples_answerer(answerer, task, 64)(part.examples)
    if cut := cut_rows(answerer):
        warn_once(
            f"{task} {part.split}: {cut:,} inputs of {len(part.examples):,} items are longer than the "
            f"{answerer.max_length} tokens that {model} reads, and were cut"
        )
    return found


def task_folder(folder: Path, task: str | None) -> Path | None:
    """The task model for `task` in a folder that is one, or that holds one per task; None where there is none."""
    names = [] if task is None else [task]
    names += [str(TASKS[task].train_on)] if task in TASKS and TASKS[task].train_on else []
    for place in (folder, *(folder / name for name in names)):
        if (place / TASK_FILE).is_file() or stock_kind(read_json(place / "config.json", optional=True)) is not None:
            return place
    return None


def check_task(config: TaskConfig, task: str, name: str) -> None:
    """Refuse a model of another task (LiDiRus is answered by TERRa's).

    Raises:
        SlonikError: it is one, or a tagger.
    """
    if config.kind == "tokens" or config.target == "tags":
        raise SlonikError(f"{name} tags words: use `slonik tag {name}`")
    allowed = {task, TASKS[task].train_on} if task in TASKS else {task}
    if config.task not in allowed and not (task in TASKS and is_foreign(config)):
        raise SlonikError(f"{name} is a model for {config.task}, not for {task}: `slonik predict {config.task} ...`")


def _training(task: str, model: str, train_data: Path | None, data_dir: Path | None) -> list[Example]:
    from slonik.core.paths import data_dir as data_folder

    lookup(task, TASKS, "task")
    if train_data is not None:
        return read_examples(task, train_data)
    part = find_part(task, data_folder(data_dir))
    if part is not None and part.train is not None:
        return list(part.train)
    if task == "rucos" or (task == "muserc" and model == "tfidf"):
        return []
    raise SlonikError(f"the baseline {model} needs training data for {task}: give --train-data FILE or --data-dir DIR")


class OwnPredictor:
    """The user's own task: rows with the training file's text columns (or `context` and `question`) in."""

    def __init__(self, answerer: TaskAnswerer, batch_size: int) -> None:
        self._answerer, self._batch = answerer, batch_size
        self.columns = tuple(answerer.config.columns["text"])

    def read(self, row: Row, where: str) -> tuple[Any, Any]:
        """The row's number (its `idx` or `id`, if it has one) and its texts."""
        return row.get("idx", row.get("id")), read_row(row, self._answerer.config, where)

    def answer(self, given: Sequence[tuple[Any, Any]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row, the label being what `own.answer_line` makes of an answer."""
        found = answer_rows(self._answerer, [one for _, one in given], self._batch)
        made = []
        for (number, _), line in zip(given, found, strict=True):
            numbered = {} if number is None else {"idx": number}
            made.append(numbered | (line if probabilities else {"label": line["label"]}))
        return made


class OfficialPredictor:
    """A task of Russian SuperGLUE: official rows in, rows of a submission out.

    Args:
        answerer: answers examples. model: what it asks; None = a baseline.
    """

    def __init__(self, task: str, answerer: AnswerExamples, model: TaskAnswerer | None = None) -> None:
        self._task, self._answerer, self._model = TASKS[task], answerer, model
        self.columns = self._task.texts

    @property
    def cut_rows(self) -> int:
        """How many inputs were longer than the model reads, and were cut, since it was loaded."""
        return 0 if self._model is None else cut_rows(self._model)

    @property
    def max_tokens(self) -> int | None:
        """Tokens of an input that the model reads; None of a baseline."""
        return None if self._model is None else self._model.max_length

    def read(self, row: Row, where: str) -> list[Example]:
        """The examples of an official row; its labels, where it has some, are not looked at."""
        return parse_row(self._task, dict(row), where)

    def answer(self, given: Sequence[list[Example]], *, probabilities: bool) -> list[dict[str, Any]]:
        """`{"idx", "label"}` per row, MuSeRC nested as in a submission; with `probabilities` by label or entity."""
        flat = [example for row in given for example in row]
        # rows of different files may share numbers: answers are told apart by place
        renumbered = [Example(n, e.fields, None, (), e.cluster, e.group) for n, e in enumerate(flat)]
        found = self._answerer(renumbered)
        made, start = [], 0
        for row in given:
            answers = found[start : start + len(row)]
            rows = [Prediction(e.idx, a.label, a.probabilities) for e, a in zip(row, answers, strict=True)]
            start += len(row)
            made.append(self._line(row, rows, probabilities))
        return made

    def _line(self, row: Sequence[Example], answers: Sequence[Prediction], probabilities: bool) -> dict[str, Any]:
        line = official_rows(self._task, row, answers)[0]
        if not probabilities:
            return line
        if len(answers) == 1:
            return {**line, "probabilities": rounded(answers[0].probabilities or {})}
        return {**line, "probabilities": {str(a.idx): rounded(a.probabilities or {}) for a in answers}}


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Probabilities with six digits."""
    return {name: round(float(value), 6) for name, value in values.items()}
