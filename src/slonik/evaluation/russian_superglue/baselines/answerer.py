"""What a fitted baseline is: a function from examples to one prediction each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from slonik.evaluation.russian_superglue.examples import Example
from slonik.evaluation.russian_superglue.predictions import Prediction

Answerer: TypeAlias = Callable[[Sequence[Example]], list[Prediction]]
