"""The recipes of taggers: every field is known, the lists that they name are there and hold names."""

from __future__ import annotations

from pathlib import Path

import pytest

from slonik.core.config import configure
from slonik.tagging.config import LadderRecipe, TaggerRecipe
from slonik.tagging.gazetteers import read_gazetteers
from slonik.tagging.outside import beside_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize("name", ["ner_seccoll_crf", "ner_seccoll_encoder", "ner_nerel"])
def test_recipes_of_one_tagger_are_whole(name: str) -> None:
    recipe = RECIPES / f"{name}.yaml"
    config = configure(TaggerRecipe, recipe, {}, ())
    system = beside_recipe(config.system, recipe)
    names = read_gazetteers(system.gazetteers, sorted(system.gazetteers))
    assert all(len(own) > 50 for own in names.values())


def test_the_ladder_names_its_teachers_and_members_before_their_use() -> None:
    recipe = RECIPES / "ner_seccoll.yaml"
    config = configure(LadderRecipe, recipe, {"data": "x", "out": "y"}, ())
    met: set[str] = set()
    for system in config.systems:
        needed = {*system.members, *([system.lesson.teacher] if system.lesson else [])}
        assert needed <= met
        met.add(system.name)
        assert all(Path(path).is_file() for own in beside_recipe(system, recipe).gazetteers.values() for path in own)
