"""A bad field fails before any work, in one sentence with its name, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from slonik.core.config import Config, build_config, configure, fields_of, parse_overrides, read_config
from slonik.core.errors import SlonikError


class Inner(Config):
    """A nested part."""

    epochs: int = Field(1, ge=1)


class Outer(Config):
    """A recipe."""

    model: str
    inner: Inner = Inner()
    maybe: Inner | None = None
    steps: int | None = Field(7, ge=1)


class Several(Config):
    """A recipe of many parts."""

    model: str = "a"
    parts: tuple[Outer, ...] = ()
    named: dict[str, Inner] = {}
    or_none: list[Inner] | None = None


class Pair(Config):
    """Two numbers."""

    first: int = 1
    second: int = 1


class Own(Config):
    """A recipe whose default of a group is not the group's own."""

    pair: Pair = Pair(first=5)


def test_a_group_given_in_part_keeps_the_rest_of_the_default_beside_its_field(tmp_path: Path) -> None:
    assert read_config(Own, None, parse_overrides(["pair.second=2"])).pair == Pair(first=5, second=2)
    (tmp_path / "r.yaml").write_text("pair: {first: 3}\n")
    assert read_config(Own, tmp_path / "r.yaml").pair == Pair(first=3, second=1)
    assert Own(pair=Pair(second=2)).pair == Pair(first=1, second=2)  # made whole by the caller


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"parts": [{"model": "a"}, {"modle": "b", "model": "c"}]}, "'parts.1.modle'; did you mean 'parts.1.model'"),
        ({"parts": [{"model": "a", "inner": {"epoch": 1}}]}, "did you mean 'parts.0.inner.epochs'"),
        ({"named": {"model": {"epoch": 1}}}, "did you mean 'named.model.epochs'"),
        ({"or_none": [{"epoch": 1}]}, "did you mean 'or_none.0.epochs'"),
    ],
)
def test_a_typo_in_a_part_of_many_is_named_with_what_is_there(values: dict[str, object], hint: str) -> None:
    with pytest.raises(SlonikError, match=hint):
        build_config(Several, values)


def test_a_field_of_an_item_can_be_set_and_an_item_that_is_none_is_refused() -> None:
    recipe = {"parts": [{"model": "a"}, {"model": "b"}]}
    made = configure(Several, recipe, {}, ["parts.1.model=c", "parts.0.inner.epochs=3"])
    assert [(one.model, one.inner.epochs) for one in made.parts] == [("a", 3), ("c", 1)]
    assert recipe == {"parts": [{"model": "a"}, {"model": "b"}]}
    for place in ("parts.2.model", "parts.first.model", "parts.-1.model"):
        with pytest.raises(SlonikError, match="parts is a list of 2"):
            configure(Several, recipe, {}, [f"{place}=c"])
    with pytest.raises(SlonikError, match="Input should be a list"):
        build_config(Several, {"parts": "a"})


def test_file_and_overrides_meet(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a\ninner:\n  epochs: 2\n")
    config = read_config(Outer, tmp_path / "r.yaml", parse_overrides(["inner.epochs=5"]) | {"model": None})
    assert (config.model, config.inner.epochs) == ("a", 5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: a\nmodle: b\n", "unknown field 'modle'; did you mean 'model'"),
        ("model: a\ninner: {epoch: 3}\n", "did you mean 'inner.epochs'"),
        ("model: a\nmaybe: {epoch: 3}\n", "did you mean 'maybe.epochs'"),
        ("model: a\ninner: {epochs: 0}\n", "'inner.epochs' is 0"),
        ("inner: {}\n", "'model' is missing"),
        ("- a\n", "not a mapping"),
        ("a: [\n", "not valid YAML"),
        ("a: 2026-13-01\n", "not valid YAML: month must be in 1"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(SlonikError, match=sentence.replace("(", "\\(")):
        read_config(Outer, tmp_path / "r.yaml")


def test_missing_recipe_and_bad_override(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="no recipe"):
        read_config(Outer, tmp_path / "none.yaml")
    with pytest.raises(SlonikError, match="key=value"):
        parse_overrides(["epochs"])


def test_null_is_said_by_an_override_and_not_by_an_option_that_was_not_given(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a\nsteps: 3\nmaybe: {epochs: 2}\n")
    not_given = {"model": None, "steps": None}
    assert read_config(Outer, tmp_path / "r.yaml", not_given).steps == 3
    config = read_config(Outer, tmp_path / "r.yaml", not_given | parse_overrides(["steps=null", "maybe=~"]))
    assert (config.model, config.steps, config.maybe) == ("a", None, None)
    assert read_config(Outer, None, {"model": "a"} | parse_overrides(["steps="])).steps is None
    with pytest.raises(SlonikError, match=r"the field 'inner.epochs' is None"):
        read_config(Outer, tmp_path / "r.yaml", parse_overrides(["inner.epochs=null"]))


@pytest.mark.parametrize("pair", ["train.betas=[0.9", "a={b", "a='x", "a=2026-13-01", "a=b: c: d"])
def test_an_override_that_is_not_yaml_is_one_sentence(pair: str) -> None:
    with pytest.raises(SlonikError, match=r"the value of --set .* is not valid YAML: ") as caught:
        parse_overrides([pair])
    assert "\n" not in str(caught.value)


def test_fields_stand_for_their_names_and_a_wrong_one_is_found_at_once() -> None:
    at = fields_of(Outer)
    maybe = fields_of(Inner, at.maybe)
    options = {at.model: "a", at.inner.epochs: 3, maybe.epochs: 2, at.steps: None}
    config = read_config(Outer, None, options)
    assert (config.model, config.inner.epochs, config.maybe, config.steps) == ("a", 3, Inner(epochs=2), 7)
    assert read_config(Outer, None, options | parse_overrides(["inner.epochs=5"])).inner.epochs == 5
    assert [str(name) for name in options] == ["model", "inner.epochs", "maybe.epochs", "steps"]
    with pytest.raises(AttributeError, match=r"unknown field 'inner.epoch'; did you mean 'inner.epochs'"):
        at.inner.epoch  # type: ignore[attr-defined]  # noqa: B018
    for wrong in (at.inner.epochs, "maybe"):
        with pytest.raises(TypeError, match="no field that holds a Inner"):
            fields_of(Inner, wrong)


def test_a_group_that_is_set_whole_never_drops_an_option_in_it() -> None:
    at = fields_of(Outer)
    with pytest.raises(SlonikError, match=r"set inner replaces all of its fields, and inner.epochs is given"):
        configure(Outer, None, {at.model: "a", at.inner.epochs: 3}, ["inner={}"])
    assert configure(Outer, None, {at.model: "a", at.inner.epochs: None}, ["inner={epochs: 4}"]).inner.epochs == 4
