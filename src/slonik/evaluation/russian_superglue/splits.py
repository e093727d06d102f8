"""Parts of a file that has to serve for training and for measuring: one held-out part, or folds for cross-fitting.

Items that share what they are about (a premise, a word, a passage) stay together, and labels are spread evenly, as
in scikit-learn's StratifiedGroupKFold; the same items and seed give the same parts on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from slonik.core.errors import SlonikError, lookup
from slonik.core.hashing import sha256_texts
from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.labels import label_name
from slonik.evaluation.russian_superglue.tasks import TASKS

FOLDS = 5
_TOGETHER = {
    "lidirus": ("sentence1", "sentence2"),
    "rcb": ("premise",),
    "parus": ("premise",),
    "muserc": ("passage",),
    "terra": ("premise",),
    "russe": ("word",),
    "rwsd": ("text",),
    "danetqa": ("passage",),
    "rucos": ("passage",),
}


def fold_numbers(task_id: str, examples: Sequence[Example], *, folds: int = FOLDS, seed: int = 0) -> list[int]:
    """The fold of each example, 0 to `folds` - 1.

    Args:
        examples: labelled or not; without labels folds are of even size only.

    Raises:
        SlonikError: fewer groups of items than folds.
    """
    task = lookup(task_id, TASKS, "task")
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        # LiDiRus asks each pair in both directions: their order must not tell them apart
        texts = sorted(str(example.fields[name]) for name in _TOGETHER[task.id])
        groups.setdefault(sha256_texts([str(seed), *texts]), []).append(index)
    if len(groups) < folds:
        raise SlonikError(f"{len(groups)} different items of {task.name} cannot be parted into {folds} folds")
    names = [_name(example) for example in examples]
    totals = Counter(names)
    counts: list[Counter[str]] = [Counter() for _ in range(folds)]
    numbers = [0] * len(examples)
    for _, members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        added = Counter(names[index] for index in members)
        best = min(range(folds), key=lambda fold: (_load(counts[fold], added, totals), fold))
        counts[best] += added
        for index in members:
            numbers[index] = best
    return numbers


def held_out(
    task_id: str, examples: Sequence[Example], *, folds: int = FOLDS, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Training and development part of one file: the development part is one fold of `folds`.

    Raises:
        SlonikError: as `fold_numbers`.
    """
    numbers = fold_numbers(task_id, examples, folds=folds, seed=seed)
    train = [example for example, number in zip(examples, numbers, strict=True) if number]
    return train, [example for example, number in zip(examples, numbers, strict=True) if not number]


def _name(example: Example) -> str:
    return "" if example.label is None else label_name(example.label)


def _load(count: Counter[str], added: Counter[str], totals: Counter[str]) -> float:
    """How much fuller than others a fold would be: growth of the sum of squared shares of its labels."""
    return sum(((count[name] + number) ** 2 - count[name] ** 2) / totals[name] for name, number in added.items())
