"""The format of recipe files: a recipe of another version is refused before any work, in a sentence that says why."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

FORMAT = 1


def _is_ours(value: int) -> int:
    if value != FORMAT:
        raise ValueError(
            f"this slonik reads recipes of format {FORMAT}: use the slonik that the recipe was written for, or "
            "write it anew"
        )
    return value


RecipeFormat = Annotated[int, AfterValidator(_is_ours)]
"""A field of a recipe's config; its default is `FORMAT`."""
