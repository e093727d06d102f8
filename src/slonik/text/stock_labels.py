"""What a config.json of Transformers says of a task head: its labels in order, its kind of problem, its activation.

Reads the content of files; which model they belong to, and whether its weights fit, is seen where it is loaded. Every
way in which the fields contradict one another ends in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from slonik.core.errors import SlonikError

Activation = Literal["identity", "sigmoid"]
Problem = Literal["single", "multi", "number"]

_PROBLEMS: dict[str, Problem] = {
    "single_label_classification": "single", "multi_label_classification": "multi", "regression": "number",
}  # fmt: skip
_ACTIVATIONS: dict[str, Activation] = {
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.linear.Identity": "identity",
    "sigmoid": "sigmoid",
    "none": "identity",
}
_USUAL = 2  # Transformers' number of labels where a config names none


def labels_of(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Names of a head's outputs, sorted by their numbers (which JSON writes as text: "10" comes after "2").

    Without `id2label` they are LABEL_0, LABEL_1, ... as in Transformers.

    Args:
        where: what the sentence of an error calls the config.

    Raises:
        SlonikError: a number that is none, missing or double, a label twice, or `label2id`, `num_labels` that say
            otherwise.
    """
    found = config.get("id2label")
    named = config.get("num_labels")
    if found is None:
        count = _USUAL if named is None else _count(named, where)
        return tuple(f"LABEL_{number}" for number in range(count))
    if not isinstance(found, Mapping) or not found:
        raise SlonikError(f"id2label in {where} is {found!r}: it must be an object, number -> label")
    numbers: dict[int, str] = {}
    for key, label in found.items():
        try:
            number = int(key)
        except (TypeError, ValueError):
            raise SlonikError(f"id2label in {where} has the key {key!r}: keys are the numbers 0, 1, ...") from None
        if number in numbers:
            raise SlonikError(f"id2label in {where} has two labels for number {number}: {numbers[number]!r}, {label!r}")
        numbers[number] = str(label)
    lacking = next((number for number in range(len(numbers)) if number not in numbers), None)
    if lacking is not None:
        raise SlonikError(
            f"id2label in {where} has {len(numbers)} labels and none for number {lacking}: number them 0 to "
            f"{len(numbers) - 1}"
        )
    labels = tuple(numbers[number] for number in range(len(numbers)))
    double = next((label for label in labels if labels.count(label) > 1), None)
    if double is not None:
        places = ", ".join(str(number) for number, label in enumerate(labels) if label == double)
        raise SlonikError(f"id2label in {where} has the label {double!r} more than once ({places}): give each its own")
    if named is not None and _count(named, where) != len(labels):
        raise SlonikError(f"num_labels in {where} is {named}, and id2label has {len(labels)} labels: correct one")
    _check_numbers(config.get("label2id"), labels, where)
    return labels


def _count(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise SlonikError(f"num_labels in {where} is {value!r}: use a whole number over 0")


def _check_numbers(found: Any, labels: tuple[str, ...], where: str) -> None:
    if found is None:
        return
    if not isinstance(found, Mapping):
        raise SlonikError(f"label2id in {where} is {found!r}: it must be an object, label -> number")
    usual = {f"LABEL_{number}": number for number in range(len(found))}
    if dict(found) == usual and labels != tuple(usual):
        return  # what Transformers had before somebody named the labels in id2label alone; it is never read
    for number, label in enumerate(labels):
        if label not in found:
            raise SlonikError(f"label2id in {where} has no {label!r}, and id2label has: correct one of them")
        if str(found[label]) != str(number):
            raise SlonikError(f"{label!r} is number {number} in id2label of {where}, and {found[label]} in label2id")
    extra = sorted(str(label) for label in found if label not in labels)
    if extra:
        raise SlonikError(f"label2id in {where} has {extra[0]!r}, and id2label has not: correct one of them")


def problem_of(config: Mapping[str, Any], count: int, where: str) -> Problem:
    """What the outputs of a sequence classifier are: its `problem_type`, else a number where it is one output.

    Raises:
        SlonikError: a `problem_type` that is none, or does not fit `count` labels.
    """
    named = config.get("problem_type")
    if named is None:
        return "number" if count == 1 else "single"
    if named not in _PROBLEMS:
        raise SlonikError(f"problem_type in {where} is {named!r}: use {', '.join(_PROBLEMS)}")
    problem = _PROBLEMS[named]
    if problem == "number" and count != 1:
        raise SlonikError(
            f"problem_type in {where} is regression, and the head has {count} outputs: regression of several numbers "
            "is not supported"
        )
    if problem == "single" and count == 1:
        raise SlonikError(
            f"problem_type in {where} is {named}, and there is one label: use regression, or multi_label_classification"
        )
    return problem


def activation_of(config: Mapping[str, Any], sentence: Mapping[str, Any], where: str) -> Activation:
    """What is applied to the one output of a head: a cross-encoder's own, else as Transformers' pipeline does.

    That is nothing for `problem_type` regression, a sigmoid where no problem is named.

    Args:
        sentence: config_sentence_transformers.json.

    Raises:
        SlonikError: a cross-encoder with another activation.
    """
    own = config.get("sentence_transformers")
    named = own.get("activation_fn") if isinstance(own, Mapping) else None
    named = named or config.get("sbert_ce_default_activation_function") or sentence.get("activation_fn")
    if named is None and config.get("problem_type") is None:
        named = config.get("function_to_apply") or "sigmoid"
    if named is None:
        return "identity"
    if named not in _ACTIVATIONS:
        raise SlonikError(f"the activation in {where} is {named!r}: the supported are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[named]
