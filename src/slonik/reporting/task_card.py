"""What the card of a model with a head says of its task: what it answers, its labels, and how it is called."""

from __future__ import annotations

from slonik.text.task_config import TaskConfig

KINDS = {
    "single": "classifier of texts", "multi": "classifier of texts into any number of labels",
    "number": "model that scores texts", "choice": "model that chooses one of several candidates",
    "answer": "model that finds answers in texts", "tags": "tagger of words",
}  # fmt: skip
_PIPELINES = {"choice": "multiple-choice", "answer": "question-answering", "tags": "token-classification"}
_AUTO = {
    "choice": "AutoModelForMultipleChoice", "answer": "AutoModelForQuestionAnswering",
    "tags": "AutoModelForTokenClassification",
}  # fmt: skip
_SHOWN = 30


def pipeline_of(task: TaskConfig) -> str:
    """The name that the hub has for such a task."""
    if task.target == "number" and task.activation == "sigmoid":
        return "text-ranking"
    return _PIPELINES.get(task.target, "text-classification")


def kind_in_words(task: TaskConfig) -> str:
    """What the model is: "classifier of texts", of two texts "classifier of pairs of texts"."""
    words = KINDS.get(task.target, "model with a head")
    return words.replace("texts", "pairs of texts", 1) if _reads_two(task) else words


def lines_of(task: TaskConfig) -> list[tuple[str, str]]:
    """Facts of the task as rows of a table."""
    lines = [("task", task.task)]
    if task.labels:
        more = f" and {len(task.labels) - _SHOWN} more" if len(task.labels) > _SHOWN else ""
        lines.append(("labels", ", ".join(task.labels[:_SHOWN]) + more))
    if task.columns.get("text"):
        lines.append(("columns", ", ".join(map(str, task.columns["text"]))))
    return lines


def usage_of(path: str, task: TaskConfig, *, exported: bool) -> str:
    """A program that asks the model; for a checkpoint also how Transformers opens it.

    Args:
        exported: the folder holds ONNX files, which Transformers does not read.
    """
    call, rows = ("tag", '["Анна Иванова живёт в Перми."]') if task.target == "tags" else ("predict", _rows(task))
    program = f"import slonik\n\nmodel = slonik.load({path!r})\nfor answer in model.{call}({rows}):\n    print(answer)"
    if task.kind == "words":  # its rows mark words, as their official files do
        return f"import slonik\n\nanswers = slonik.predict({path!r}, 'test.jsonl')"
    if exported:
        return program
    auto = _AUTO.get(task.target, "AutoModelForSequenceClassification")
    code = "" if task.shape == "stock" else ", trust_remote_code=True"
    return program + (
        f"\n\n# or with Transformers alone\nfrom transformers import {auto}, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({path!r})\nmodel = {auto}.from_pretrained({path!r}{code})"
    )


def _reads_two(task: TaskConfig) -> bool:
    return task.kind == "pair" or (task.target in ("single", "multi", "number") and _columns(task) == 2)


def _columns(task: TaskConfig) -> int:
    return len(task.columns.get("text") or ())


def _rows(task: TaskConfig) -> str:
    if task.target == "choice":
        return '[("Он открыл дверь.", ["Он вошёл.", "Он уснул."])]'
    if task.target == "answer":
        return '[("Где живёт слон?", "Слон живёт в зоопарке.")]'
    return '[("Слон спит.", "Слон отдыхает.")]' if _reads_two(task) else '["Мне всё понравилось!", "Так себе."]'
