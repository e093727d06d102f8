"""Prompts in Russian for models that answer in words, from a versioned data file whose hash stands in task.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from slonik.core.errors import lookup
from slonik.core.hashing import derive_seed, sha256_file
from slonik.core.progress import warn_once
from slonik.evaluation.russian_superglue.metrics import is_right
from slonik.evaluation.russian_superglue.tasks import TASKS, Example, label_names
from slonik.finetuning.items import Asked, Item

FILE = Path(__file__).with_name("prompts.ru.json")


@cache
def prompts_hash() -> str:
    """sha256 of the prompts file."""
    return sha256_file(FILE)


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def ask(task_id: str, example: Example, *, plain: bool = True) -> Asked:
    """An official example in words.

    Args:
        plain: with the prompt of the file; else the bare texts, one to a line.
    """
    spec = lookup(task_id, _content()["tasks"], "task")
    fields = {**example.fields}
    if "passage" in fields:
        fields["passage"] = str(fields["passage"]).replace("\n@highlight\n", " ")
    if "links" in spec:
        fields["link"] = spec["links"]["effect" if fields["question"].strip().lower() == "effect" else "cause"]
    names = [*TASKS[task_id].texts, *(["link"] if "links" in spec else [])]
    skipped = spec.get("choices", ()) if not plain or "choices" in spec else ()
    bare = "\n".join(str(fields[name]) for name in names if name not in (*skipped, "question" if skipped else ""))
    prompt = spec["prompt"].format(**fields) if plain else bare
    others = tuple(_others(spec, fields)) if plain else ()
    if spec.get("entities"):
        answers = tuple(fields["entities"]) or ("",)
        right = next((n for n, text in enumerate(answers) if example.answers and is_right(example, text)), None)
        return Asked(prompt, answers, right, others=others)
    if "choices" in spec:
        answers = tuple(str(fields[name]) for name in spec["choices"])
    else:
        answers = tuple(spec["answers"][name] for name in label_names(TASKS[task_id]))
    right = None if example.label is None else TASKS[task_id].labels.index(example.label)
    return Asked(prompt, answers, right, others=others)


def _others(spec: dict[str, Any], fields: dict[str, Any]) -> Iterator[str]:
    """The further prompts of a task, filled in."""
    for links in spec.get("other_links", ()):
        link = links["effect" if fields["question"].strip().lower() == "effect" else "cause"]
        yield spec["prompt"].format(**{**fields, "link": link})
    for prompt in spec.get("others", ()):
        yield prompt.format(**fields)


def prompted(items: Sequence[Item], number: int) -> list[Item]:
    """The same items, asked by their prompt `number`."""
    return [item if item.asked is None else replace(item, asked=item.asked.prompted(number)) for item in items]


def with_shots(
    items: Sequence[Item], shown: Sequence[Item], shots: int, seed: int, task: str = "the task"
) -> list[Item]:
    """The same items with `shots` answered ones of `shown` before each question, drawn anew for each by seed.

    What does not fit the model is left out where it reads them. `task`: its name, for sentences.
    """
    known = [one.asked for one in shown if one.asked is not None and one.asked.right is not None]
    if not shots or not known:
        return list(items)
    if len(known) < shots:
        warn_once(
            f"{task}: {shots} examples are asked for in a prompt, and there are {len(known)}: all of them are shown"
        )
    made = []
    for number, item in enumerate(items):
        assert item.asked is not None
        rng = np.random.default_rng(derive_seed(seed, "shots", number))
        drawn = [known[place] for place in rng.permutation(len(known))[:shots]]
        before = [f"{shot.prompt} {shot.answers[shot.right or 0]}" for shot in drawn]
        made.append(replace(item, asked=item.asked.shown(before)))
    return made
