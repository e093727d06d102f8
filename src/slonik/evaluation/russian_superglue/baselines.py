"""Baselines of Russian SuperGLUE, by the bare names that stand for them wherever a MODEL is named.

`fit(name, ...)` gives a function from examples to predictions. Baselines see the training data that a model sees, and
no more; they stand beside every measured model.

- `majority`: the most frequent label of the training data for every item. For RuCoS the published row (.25 / .247)
  does not say what its majority is; ours is the entity that the passage mentions most often, the first of equals.
- `random_weighted`: a label drawn for each item with the shares of the training data; in RuCoS a mention drawn at
  random. One draw by seed, as published; its score is that of chance, with the spread of chance.
- `tfidf`: TF-IDF with logistic regression, as published: texts joined with spaces, both with scikit-learn's defaults.
  MuSeRC takes the two answer options, RuCoS the entity, whose text with the question is nearest to the passage by
  cosine. Source: `tfidf_baseline/` of RussianNLP/RussianSuperGLUE. The published vectoriser is a pickle fitted on
  texts that are not named; here it is fitted on the training texts (on the passages themselves where there are none).
- `heuristic_majority`: hand-made rules that look at words and lengths, and the majority label where no rule speaks.
  Rules and thresholds are the published ones (Iazykova et al. 2021, arXiv:2105.01192; notebook `generate_json` of
  github.com/tatiana-iazykova/2020_HACK_RUSSIANSUPERGLUE), their regular expression without "ё" included. Two things
  differ: the fallback of LiDiRus is the majority of TERRa, not of LiDiRus itself, and the candidates of RuCoS that do
  not stand in the query are chosen by number of mentions, as the published choice is not on record.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from string import punctuation
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import MissingExtra, lookup
from slonik.core.hashing import derive_seed
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import TASKS, Example, Label, Task, label_name

Answerer: TypeAlias = Callable[[Sequence[Example]], list[Prediction]]

_RIGHT_ANSWERS = 2  # of each question of MuSeRC
_HIGHLIGHT = "\n@highlight\n"
_PLACEHOLDER = "@placeholder"
_ASKED = {"cause": "Что было ПРИЧИНОЙ этого?", "effect": "Что случилось в РЕЗУЛЬТАТЕ?"}
_JOINED = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2", "word"),
    ("sentence1", "sentence2"),
    ("text", "span1_text", "span2_text"),
    ("question",),
)
_WORDS = re.compile("[А-Яа-яA-z]+")
_STRIPPED = punctuation + "«»—…–“”'"
_TERRA_DENIED = {"только", "мужчина"}
# the published list has "считать" with a Latin "c", which no word equals
_RCB_NEUTRAL = {"подозревать", "говорить", "думать", "надеяться", "понять", "уверять"}
_RCB_ENTAILED = {"признать"}
_LIDIRUS_ENTAILED = {"чтобы", "будет", "от", "он"}
_LIDIRUS_DENIED = {"и", "не", "никогда", "вовсе", "что", "это"}


def fit_majority(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `majority`."""
    if not task.labels:
        return _most_mentioned
    shares = label_shares(task, train)
    probabilities = {label_name(label): share for label, share in shares.items()}
    best = max(shares, key=lambda label: shares[label])
    return lambda examples: [Prediction(example.idx, best, probabilities) for example in examples]


def label_shares(task: Task, train: Sequence[Example]) -> dict[Label, float]:
    """Share of each label in the training data, labels in sorted order (so that the first of equals is the same)."""
    counts = Counter(label_name(example.label) for example in train if example.label is not None)
    total = sum(counts.values()) or 1
    return {label: counts[label_name(label)] / total for label in sorted(task.labels, key=label_name)}


def mentions(example: Example) -> dict[str, int]:
    """RuCoS: entity -> how often its text stands in the passage, in order of first mention."""
    passage = str(example.fields["passage"])
    return {entity: max(1, passage.count(entity)) for entity in example.fields["entities"]}


def _most_mentioned(examples: Sequence[Example]) -> list[Prediction]:
    rows = []
    for example in examples:
        counts = mentions(example)
        total = sum(counts.values())
        probabilities = {entity: count / total for entity, count in counts.items()}
        rows.append(Prediction(example.idx, max(counts, key=lambda entity: counts[entity]), probabilities))
    return rows


def fit_random_weighted(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `random_weighted`; `seed` is of the draw."""
    shares = label_shares(task, train) if task.labels else {}
    labels = list(shares)

    def answer(examples: Sequence[Example]) -> list[Prediction]:
        rows = []
        for example in examples:
            options = labels or list(mentions(example))
            weights = list(shares.values() if labels else mentions(example).values())
            # each item has a draw of its own, so that parts of a file are answered as the whole is
            drawn = derive_seed(seed, "random_weighted", task.id, example.idx) / 2**63 * sum(weights)
            place = bisect_right(list(accumulate(weights)), drawn)
            rows.append(Prediction(example.idx, options[min(place, len(options) - 1)]))
        return rows

    return answer


def fit_tfidf(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `tfidf`; of the training data of MuSeRC and RuCoS it takes the passages alone.

    Raises:
        MissingExtra: no scikit-learn.
    """
    vectorizer = _vectorizer()
    if task.kind == "answers":
        return lambda examples: _best_answers(vectorizer, train or examples, examples)
    if task.kind == "cloze":
        return lambda examples: _best_entity(vectorizer, train or examples, examples)
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
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    for group in groups.values():
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


def _passage(example: Example) -> str:
    return str(example.fields["passage"]).replace(_HIGHLIGHT, " ")


def _cosines(vectorizer: Any, text: str, options: Sequence[str]) -> NDArray[np.float64]:
    """Cosine of a text with each option; vectors have unit length already."""
    found = vectorizer.transform(options) @ vectorizer.transform([text]).T
    return np.asarray(found.toarray(), dtype=np.float64)[:, 0]


def fit_heuristic_majority(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `heuristic_majority`."""
    if not task.labels:
        return lambda examples: [Prediction(example.idx, _entity(example)) for example in examples]
    fallback = fit_majority(task, train)
    rule = _RULES[task.id]

    def answer(examples: Sequence[Example]) -> list[Prediction]:
        rows = []
        for example, usual in zip(examples, fallback(examples), strict=True):
            found = rule(example.fields)
            rows.append(Prediction(example.idx, usual.label if found is None else found))
        return rows

    return answer


@dataclass(frozen=True)
class _Overlap:
    """Share of the hypothesis' lemmas that the premise has, and the premise's length in words."""

    share: float
    length: int
    lemmas: frozenset[str]
    contained: bool

    @classmethod
    def of(cls, fields: Any) -> _Overlap:
        premise, hypothesis = fields["premise"].lower(), fields["hypothesis"].lower()
        lemma = _lemmatizer()
        first, second = ({lemma(word) for word in _WORDS.findall(text)} for text in (premise, hypothesis))
        share = len(first & second) / len(second) if second else 0.0
        return cls(share, len(fields["premise"].split()), frozenset(second), hypothesis in premise)


def _terra(fields: Any) -> Label | None:
    found = _Overlap.of(fields)
    if found.contained:
        return "entailment"
    if found.share <= 1 / 3 or found.length < 29 or found.lemmas & _TERRA_DENIED:
        return "not_entailment"
    if found.share in (0.75, 1, 2 / 3) or found.length > 32:
        return "entailment"
    return None


def _rcb(fields: Any) -> Label | None:
    lemma = _lemmatizer()
    premise = {lemma(word) for word in _WORDS.findall(fields["premise"].lower())}
    found, words = _Overlap.of(fields), len(fields["hypothesis"].split())
    if found.contained or premise & _RCB_ENTAILED or found.share == 0.75:
        return "entailment"
    if premise & _RCB_NEUTRAL:
        return "neutral"
    if words < 5:
        return "contradiction"
    if words <= 7:
        return "neutral"
    return "entailment" if found.length > 30 else None


def _lidirus(fields: Any) -> Label | None:
    first, second = set(fields["sentence1"].split()), set(fields["sentence2"].split())
    apart, shared = first ^ second, first & second
    same = set(_lemmas(fields["sentence1"])) == set(_lemmas(fields["sentence2"]))
    if same or shared & _LIDIRUS_ENTAILED:
        return "entailment"
    commas = " ".join(apart).count(",")
    if len(apart) > 10 or commas > 1 or len(apart) == 2 or apart & _LIDIRUS_DENIED:
        return "not_entailment"
    return None


def _parus(fields: Any) -> Label | None:
    premise = set(_lemmas(fields["premise"]))
    first, second = (len(premise.intersection(_lemmas(fields[name]))) for name in ("choice1", "choice2"))
    return None if first == second else int(second > first)


def _muserc(fields: Any) -> Label | None:
    answer = _lemmas(fields["answer"])
    shared, words = len(set(answer).intersection(_lemmas(fields["passage"]))), len(fields["answer"].split())
    if words > 11 or shared > 6 or shared == len(answer):
        return 1
    return 0 if words < 4 or shared <= 1 else None


def _russe(fields: Any) -> Label | None:
    first, second = set(fields["sentence1"].split()), set(fields["sentence2"].split())
    return True if len(first & second) / max(1, len(first | second)) > 0.10 else None


def _rwsd(fields: Any) -> Label | None:
    # the published code cuts the first span out only, and counts characters
    length = len(fields["text"].replace(fields["span1_text"], ""))
    distance = fields["span2_index"] - fields["span1_index"]
    return False if length % 2 == 1 or length % 4 == 3 or (distance + length) % 3 != 2 else None


def _danetqa(fields: Any) -> Label | None:
    question = fields["question"].lower()
    if re.search("был|(^есть)", question):
        return True
    if re.search("^входит|едят|правда ли", question) or len(question.split()) > 5:
        return False
    return False if len(fields["passage"].split()) >= 90 else None


_RULES: dict[str, Callable[[Any], Label | None]] = {
    "terra": _terra,
    "rcb": _rcb,
    "lidirus": _lidirus,
    "parus": _parus,
    "muserc": _muserc,
    "russe": _russe,
    "rwsd": _rwsd,
    "danetqa": _danetqa,
}


def _entity(example: Example) -> str:
    counts = mentions(example)
    absent = [entity for entity in counts if entity[:-1] not in str(example.fields["query"])]
    return max(absent or list(counts), key=lambda entity: counts[entity])


def _lemmas(text: str) -> list[str]:
    """Lemmas of the words between spaces and hyphen-free punctuation, as many as there are words."""
    lemma = _lemmatizer()
    words = (word.strip(_STRIPPED).lower() for word in re.findall(r"\w+(?:-\w+)*|[^\w\s]+", text))
    return [lemma(word) for word in words if word]


@cache
def _lemmatizer() -> Callable[[str], str]:
    """Word -> lemma in lower case: pymorphy3's first parse, as the published rules; the word where it is not installed.

    No part of speech, no disambiguation.
    """
    try:
        import pymorphy3
    except ModuleNotFoundError:
        return str.lower
    analyzer = pymorphy3.MorphAnalyzer(lang="ru")

    @lru_cache(maxsize=200_000)
    def lemma(word: str) -> str:
        return str(analyzer.parse(word)[0].normal_form)

    return lemma


BASELINES: dict[str, Callable[[Task, Sequence[Example], int], Answerer]] = {
    "majority": fit_majority,
    "random_weighted": fit_random_weighted,
    "heuristic_majority": fit_heuristic_majority,
    "tfidf": fit_tfidf,
}
"""Name -> how to fit it to (task, labelled training examples, seed)."""


def fit(name: str, task_id: str, train: Sequence[Example], *, seed: int = 0) -> Answerer:
    """A baseline fitted to training examples.

    Args:
        name: a key of `BASELINES`.
        train: labelled examples, of TERRa for LiDiRus; may be empty for MuSeRC with `tfidf`, and for RuCoS.

    Raises:
        SlonikError: unknown baseline or task.
        MissingExtra: `tfidf` without scikit-learn.
    """
    task = lookup(task_id, TASKS, "task")
    return lookup(name, BASELINES, "baseline")(task, train, seed)
