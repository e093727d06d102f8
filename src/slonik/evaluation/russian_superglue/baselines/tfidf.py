"""TF-IDF with logistic regression, as published: texts joined with spaces, both with scikit-learn's defaults.

MuSeRC takes the two answer options, RuCoS the entity, whose text with the question is nearest to the passage by
cosine. Source: `tfidf_baseline/` of RussianNLP/RussianSuperGLUE. The published vectoriser is a pickle fitted on
texts that are not named; here it is fitted on the training texts (on the passages themselves where there are none).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra
from slonik.evaluation.russian_superglue.baselines.answerer import Answerer
from slonik.evaluation.russian_superglue.baselines.majority import fit_majority
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.labels import label_name
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import Label, Task

_RIGHT_ANSWERS = 2  # of each question of MuSeRC
_HIGHLIGHT = "\n@highlight\n"
_PLACEHOLDER = "@placeholder"
_ASKED = {"cause": "Что было ПРИЧИНОЙ этого?", "effect": "Что случилось в РЕЗУЛЬТАТЕ?"}


def fit_tfidf(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `tfidf`.

    Args:
        train: labelled examples; for MuSeRC and RuCoS their passages alone are used, and there may be none.
        seed: not used.

    Raises:
        MissingExtra: no scikit-learn.
    """
    vectorizer = _vectorizer()
    if task.kind in ("answers", "cloze"):
        return lambda examples: _NEAREST[task.kind](vectorizer, train or examples, examples)
    labels = [label_name(example.label) for example in train if example.label is not None]
    if len(set(labels)) < 2:
        return fit_majority(task, train)
    from sklearn.linear_model import LogisticRegression

    features = vectorizer.fit_transform([joined_text(example) for example in train if example.label is not None])
    model = LogisticRegression().fit(features, labels)
    return lambda examples: _classified(task, vectorizer, model, examples)


def joined_text(example: Example) -> str:
    """The texts of an example as the published baseline joins them; of DaNetQA the question alone."""
    fields = example.fields
    if "premise" in fields and "choice1" in fields:
        asked = _ASKED["cause" if fields["question"] == "cause" else "effect"]
        return f"{fields['premise'].strip()} {asked} {fields['choice1']} {fields['choice2']}"
    for names in _JOINED:
        if all(name in fields for name in names):
            return " ".join(str(fields[name]).strip() for name in names)
    raise AssertionError(f"no text fields in {sorted(fields)}")


_JOINED = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2", "word"),
    ("sentence1", "sentence2"),
    ("text", "span1_text", "span2_text"),
    ("question",),
)


def _vectorizer() -> Any:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError:
        raise MissingExtra("the baseline tfidf", "evaluate", "scikit-learn") from None
    return TfidfVectorizer()


def _classified(task: Task, vectorizer: Any, model: Any, examples: Sequence[Example]) -> list[Prediction]:
    labels: dict[str, Label] = {label_name(label): label for label in task.labels}
    table = model.predict_proba(vectorizer.transform([joined_text(example) for example in examples]))
    places = {name: column for column, name in enumerate(model.classes_)}
    rows = []
    for example, values in zip(examples, table, strict=True):
        probabilities = {name: float(values[places[name]]) if name in places else 0.0 for name in labels}
        best = max(probabilities, key=lambda name: probabilities[name])
        rows.append(Prediction(example.idx, labels[best], probabilities))
    return rows


def _best_answers(vectorizer: Any, known: Sequence[Example], examples: Sequence[Example]) -> list[Prediction]:
    vectorizer.fit(list(dict.fromkeys(str(example.fields["passage"]) for example in known)))
    rows: dict[int | str, Prediction] = {}
    for group in _grouped(examples):
        options = [f"{example.fields['question']} {example.fields['answer']}" for example in group]
        near = _cosines(vectorizer, str(group[0].fields["passage"]), options)
        chosen = set(near.argsort()[-_RIGHT_ANSWERS:].tolist())
        for place, example in enumerate(group):
            rows[example.idx] = Prediction(example.idx, int(place in chosen))
    return [rows[example.idx] for example in examples]


def _best_entity(vectorizer: Any, known: Sequence[Example], examples: Sequence[Example]) -> list[Prediction]:
    vectorizer.fit(list(dict.fromkeys(_passage(example) for example in known)))
    rows = []
    for example in examples:
        entities = list(example.fields["entities"])
        options = [str(example.fields["query"]).replace(_PLACEHOLDER, entity) for entity in entities]
        near = _cosines(vectorizer, _passage(example), options)
        rows.append(Prediction(example.idx, entities[int(near.argmax())]))
    return rows


_NEAREST = {"answers": _best_answers, "cloze": _best_entity}


def _passage(example: Example) -> str:
    return str(example.fields["passage"]).replace(_HIGHLIGHT, " ")


def _grouped(examples: Sequence[Example]) -> list[list[Example]]:
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    return list(groups.values())


def _cosines(vectorizer: Any, text: str, options: Sequence[str]) -> NDArray[np.float64]:
    """Cosine of a text with each option; vectors have unit length already."""
    found = vectorizer.transform(options) @ vectorizer.transform([text]).T
    return np.asarray(found.toarray(), dtype=np.float64)[:, 0]
