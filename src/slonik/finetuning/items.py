"""Labelled items of any task, for any learner, and how they are split: fitting, early stopping, measuring, folds.

Items of one group (one premise, one passage, one word) never stand on both sides of a split; labels are spread evenly.
Which texts make an item is the task's business.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.hashing import derive_seed, sha256_json
from slonik.text.pairs import Fields, PairTokenizer, TaskInput

IntArray = NDArray[np.int64]
Floats = NDArray[np.float32]
_BETWEEN = "\n\n"  # examples of a prompt


@dataclass(frozen=True)
class Asked:
    """One example in words, for models that answer in words.

    Attributes:
        prompt: what the model reads.
        answers: what it may say, in the order of the labels (or candidates); of free words the right ones alone.
        right: place of the right answer; None where it is not known or not among them.
        free: the model says what it likes.
        others: further prompts for the same.
        shots: answered examples, with which the prompt begins.
    """

    prompt: str
    answers: tuple[str, ...]
    right: int | None
    free: bool = False
    others: tuple[str, ...] = ()
    shots: tuple[str, ...] = ()

    def shown(self, shots: Sequence[str]) -> Asked:
        """The same with answered examples before the prompt."""
        return replace(self, prompt=_BETWEEN.join([*shots, self.prompt]), shots=tuple(shots))

    def without_first_shot(self) -> Asked:
        """The same with one example less."""
        return replace(self, prompt=self.prompt[len(self.shots[0]) + len(_BETWEEN) :], shots=self.shots[1:])

    def prompted(self, number: int) -> Asked:
        """The same by its prompt `number`, of which 0 is the first."""
        return replace(self, prompt=(self.prompt, *self.others)[number], others=())


@dataclass(frozen=True)
class Item:
    """One example of a task.

    Attributes:
        key: its number in its file.
        input: its texts, ready for an encoder's tokenizer.
        label: what the objective wants as `label`: an index, numbers (L,), a float, right candidates (R,), or
            (first, last + 1) characters of the answer in the second text; the text itself where words are wanted; None
            where it is not known.
        group: items of one group stay together.
        asked: the same in words, where the learner answers in words.
        names: labels of an item with several, for spreading them.
    """

    key: int | str
    input: TaskInput
    label: Any
    group: str
    asked: Asked | None = None
    names: tuple[str, ...] = ()

    @property
    def strata(self) -> tuple[str, ...]:
        """What is spread evenly over the sides of a split: its label, or its labels."""
        return self.names or ((str(self.label),) if isinstance(self.label, int) else ("",))


def with_pairs(item: Item, pairs: str) -> Item:
    """The same item with its two texts, if it has two, as one input of the encoder ("joint") or apart ("separate")."""
    rows = item.input.rows
    if pairs == "separate" and len(rows) == 1 and len(rows[0]) == 2:
        spans = tuple(replace(span, row=span.part, part=0) for span in item.input.spans)
        return replace(item, input=TaskInput(tuple((text,) for text in rows[0]), spans))
    if pairs == "joint" and len(rows) == 2 and all(len(row) == 1 for row in rows):
        spans = tuple(replace(span, row=0, part=span.row) for span in item.input.spans)
        return replace(item, input=TaskInput((tuple(row[0] for row in rows),), spans))
    return item


def has_two_texts(item: Item) -> bool:
    """Whether its two texts can be read together or apart."""
    rows = item.input.rows
    return (len(rows) == 1 and len(rows[0]) == 2) or (len(rows) == 2 and all(len(row) == 1 for row in rows))


def split_items(
    items: Sequence[Item], shares: Sequence[float], seed: int, *, learned: int | None = None
) -> list[IntArray]:
    """Split items into parts of about the given shares, groups whole, labels even.

    Groups come in random order, large ones first; each goes to the part that lacks most of its labels.

    Args:
        shares: sum to 1.
        learned: the part that is learned from. It gets all of a label with one item or two, and two of every other, so
            that no label is measured that was never learned.

    Returns:
        Item numbers of each part, ascending.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        members[item.group].append(number)
    strata = {name: index for index, name in enumerate(sorted({name for item in items for name in item.strata}))}
    counts = {group: _counts([items[n] for n in numbers], strata) for group, numbers in members.items()}
    total = sum(counts.values(), np.zeros(len(strata)))
    wanted, left = np.outer(shares, total), total.copy()
    rng = np.random.default_rng(derive_seed(seed, "divide", len(items), len(shares)))
    names = sorted(members)
    order = sorted((names[place] for place in rng.permutation(len(names))), key=lambda name: -len(members[name]))
    if learned is not None:
        rare = {name for name in order if (total[counts[name] > 0] <= RARE).any()}
        order = [name for name in order if name in rare] + [name for name in order if name not in rare]
    parts: list[list[int]] = [[] for _ in shares]
    for name in order:
        own = counts[name] > 0
        lack = (wanted * own).sum(1) / np.maximum(np.asarray(shares), 1e-9)
        best = int(np.argmax(lack))
        if learned is not None and (left[own] - counts[name][own] < np.minimum(total[own], RARE)).any():
            best = learned
        if best != learned:
            left -= counts[name]
        wanted[best] -= counts[name]
        parts[best] += members[name]
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


RARE = 2
"""Items of a label at most, all of which are learned from."""


def fold_items(items: Sequence[Item], folds: int, seed: int) -> tuple[IntArray, list[IntArray]]:
    """(items that every fold learns from, items that each fold measures), groups whole and labels even.

    Never measured are groups with a label of one item or two, or of one group alone: where they are measured the label
    would not have been learned.
    """
    counts = Counter(name for item in items for name in item.strata)
    groups: dict[str, set[str]] = defaultdict(set)
    for item in items:
        for name in item.strata:
            groups[name].add(item.group)
    fixed = {item.group for item in items if any(counts[name] <= RARE or len(groups[name]) < 2 for name in item.strata)}
    free = [n for n, item in enumerate(items) if item.group not in fixed]
    parts = split_items([items[n] for n in free], [1 / folds] * folds, seed) if free else []
    kept = np.array([n for n, item in enumerate(items) if item.group in fixed], dtype=np.int64)
    return kept, [np.array(free, dtype=np.int64)[part] for part in parts]


def _counts(items: Sequence[Item], strata: dict[str, int]) -> NDArray[np.float64]:
    found = np.zeros(len(strata))
    for item in items:
        for name in item.strata:
            found[strata[name]] += 1
    return found


def items_hash(items: Sequence[Item]) -> str:
    """sha256 over everything in the items that decides what is learned from them."""
    return sha256_json([asdict(item) for item in items])


def drawn(numbers: IntArray, most: int | None, seed: int) -> IntArray:
    """At most `most` of `numbers`, drawn by seed, in their order."""
    if most is None or len(numbers) <= most:
        return numbers
    rng = np.random.default_rng(derive_seed(seed, "draw", len(numbers), most))
    return np.sort(rng.permutation(numbers)[:most])


def token_fields(items: Sequence[Item], tokenizer: PairTokenizer) -> list[Fields]:
    """Token fields of items, without labels."""
    return [tokenizer.fields(item.input) for item in items]


def labelled_fields(
    items: Sequence[Item], tokenizer: PairTokenizer, target: str, *, most_candidates: int = 8, seed: int = 0
) -> list[Fields]:
    """Token fields with `label`, for training.

    An example with many candidates keeps the right ones and a draw of wrong ones, `most_candidates` in all: a softmax
    over a sample of wrong answers costs a third and trains the same scores.

    An answer that was cut away points to the first token, "no answer".
    """
    made = []
    for number, item in enumerate(items):
        if target == "answer":
            made.append(_answer_fields(item, tokenizer))
            continue
        if target == "choice" and len(item.input.rows) > most_candidates:
            item = _fewer_candidates(item, most_candidates, derive_seed(seed, "candidates", number))
        fields = tokenizer.fields(item.input)
        kind: type = np.int64 if target == "single" else np.float32
        fields["label"] = np.asarray(item.label, dtype=kind)
        made.append(fields)
    return made


def _fewer_candidates(item: Item, most: int, seed: int) -> Item:
    right = [place for place, value in enumerate(item.label) if value][:most]
    wrong = [place for place, value in enumerate(item.label) if not value]
    rng = np.random.default_rng(seed)
    kept = sorted(right + [wrong[place] for place in rng.permutation(len(wrong))[: most - len(right)]])
    rows = tuple(item.input.rows[place] for place in kept)
    return replace(item, input=TaskInput(rows), label=[item.label[place] for place in kept])


def _answer_fields(item: Item, tokenizer: PairTokenizer) -> Fields:
    start, end = item.label if item.label is not None else (0, 0)
    row = tokenizer.row(item.input.rows[0])
    first, last = row.tokens_of(1, start, end) if end > start else (0, 1)
    places = (first, max(last - 1, 0))
    fields = {"input_ids": row.ids, "attention_mask": np.ones_like(row.ids), "token_type_ids": row.types}
    return {**fields, "segments": row.segments, "label": np.array(places, dtype=np.int64)}
