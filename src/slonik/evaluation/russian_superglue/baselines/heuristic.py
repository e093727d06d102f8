"""Hand-made rules that look at words and lengths, and the majority label where no rule speaks: "heuristic majority".

Rules and thresholds are the published ones (Iazykova et al. 2021, arXiv:2105.01192; notebook `generate_json` of
github.com/tatiana-iazykova/2020_HACK_RUSSIANSUPERGLUE), their regular expression without "ё" included. Two things
differ: the fallback of LiDiRus is the majority of TERRa, not of LiDiRus itself, and the candidates of RuCoS that do
not stand in the query are chosen by number of mentions, as the published choice is not on record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import punctuation
from typing import Any

from slonik.evaluation.russian_superglue.baselines.answerer import Answerer
from slonik.evaluation.russian_superglue.baselines.majority import fit_majority, mentions
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.lemmas import lemmatizer
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import Label, Task

_WORDS = re.compile("[А-Яа-яA-z]+")
_STRIPPED = punctuation + "«»—…–“”'"
_TERRA_DENIED = {"только", "мужчина"}
# the published list has "считать" with a Latin "c", which no word equals
_RCB_NEUTRAL = {"подозревать", "говорить", "думать", "надеяться", "понять", "уверять"}
_RCB_ENTAILED = {"признать"}
_LIDIRUS_ENTAILED = {"чтобы", "будет", "от", "он"}
_LIDIRUS_DENIED = {"и", "не", "никогда", "вовсе", "что", "это"}


def fit_heuristic_majority(task: Task, train: Sequence[Example], seed: int = 0) -> Answerer:
    """The baseline `heuristic_majority`.

    Args:
        train: labelled examples, for the fallback.
        seed: not used.
    """
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
        _, lemma = lemmatizer()
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
    _, lemma = lemmatizer()
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
    if _lemmas(fields["sentence1"]) == _lemmas(fields["sentence2"]) or shared & _LIDIRUS_ENTAILED:
        return "entailment"
    commas = " ".join(apart).count(",")
    if len(apart) > 10 or commas > 1 or len(apart) == 2 or apart & _LIDIRUS_DENIED:
        return "not_entailment"
    return None


def _parus(fields: Any) -> Label | None:
    premise = _lemmas(fields["premise"])
    first, second = (len(premise & _lemmas(fields[name])) for name in ("choice1", "choice2"))
    return None if first == second else int(second > first)


def _muserc(fields: Any) -> Label | None:
    answer = _lemma_list(fields["answer"])
    shared, words = len(set(answer) & _lemmas(fields["passage"])), len(fields["answer"].split())
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


def _lemmas(text: str) -> set[str]:
    return set(_lemma_list(text))


def _lemma_list(text: str) -> list[str]:
    """Lemmas of the words between spaces and hyphen-free punctuation, as many as there are words."""
    _, lemma = lemmatizer()
    words = (word.strip(_STRIPPED).lower() for word in re.findall(r"\w+(?:-\w+)*|[^\w\s]+", text))
    return [lemma(word) for word in words if word]
