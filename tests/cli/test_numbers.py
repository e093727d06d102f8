"""Every option that is a number refuses what is none of its kind, in one sentence, before anything is opened."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import get_args, get_type_hints

import pytest
import typer.main
from click import Command

import slonik
from slonik.cli.main import build_app
from slonik.core.config import Config, build_config
from slonik.core.errors import SlonikError
from slonik.core.numbers import check_count, check_number, check_seed
from slonik.evaluation.resources.side_by_side import bench
from tests.cli.test_options import commands


def numbers(command: Command) -> Iterator[tuple[str, type]]:
    """The longest name of every option of a command that is a number, and its type."""
    hints = get_type_hints(inspect.unwrap(command.callback)) if command.callback is not None else {}
    for parameter in command.params:
        kind = next((one for one in get_args(hints.get(parameter.name)) or (hints.get(parameter.name),)
                     if one in (int, float)), None)  # fmt: skip
        if kind is not None and parameter.param_type_name == "option":
            yield max(parameter.opts, key=len), kind


def refusal(app: Command, command: str, option: str, value: str) -> str:
    with pytest.raises(SlonikError) as caught:
        app.main([*command.split()[1:], f"{option}={value}"], standalone_mode=False)
    return str(caught.value)


def test_no_number_of_any_command_is_taken_whatever_it_is() -> None:
    app = typer.main.get_command(build_app())
    found = [(name, *one) for name, command in commands(app).items() for one in numbers(command)]
    assert len(found) > 90
    for command, option, kind in found:
        said = refusal(app, command, option, "-1000000007")
        assert re.fullmatch(rf"{option} is -1000000007(\.0)?: give a (whole )?number .*\d.*", said), (command, said)
        if kind is float:
            for value in ("nan", "inf"):
                assert f"{option} is {value}: give a number" in refusal(app, command, option, value), command
        if option == "--seed":
            assert f"from 0 to {2**32 - 1}" in refusal(app, command, option, "-4")
            assert f"from 0 to {2**32 - 1}" in refusal(app, command, option, str(2**32))


@pytest.mark.parametrize("zero", ["evaluate own --batch-size", "inspect --limit", "encode --dimensions",
                                  "encode --threads", "serve --threads", "data probing --limit", "compress --heads",
                                  "finetune --epochs", "words --top", "map --limit"])  # fmt: skip
def test_nothing_of_what_must_be_something_is_refused(zero: str) -> None:
    command, option = zero.rsplit(" ", 1)
    assert f"{option} is 0" in refusal(typer.main.get_command(build_app()), f"slonik {command}", option, "0")


@pytest.mark.parametrize("suite", ["encodechka", "russian_superglue", "probing", "ner", "retrieval", "mteb", "own"])
def test_functions_behind_refuse_the_same_seeds(suite: str) -> None:
    given = {"own": {"data": []}, "retrieval": {"data": "nowhere"}}.get(suite, {})
    for seed in (-4, 2**32, 1.5, True):
        with pytest.raises(SlonikError, match=f"seed is {seed}: give a whole number from 0 to 4294967295"):
            slonik.evaluate("nothing", suite, seed=seed, **given)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evaluate own rows.csv model --curve=", "--curve is ''"),
        ("evaluate own rows.csv model --curve=8,1", "--curve is '8,1': give whole numbers of at least 2"),
        ("evaluate encodechka model --dimensions=", "--dimensions is ''"),
        ("evaluate encodechka model --dimensions=0", "--dimensions is '0'"),
        ("bench model --batches=8,0", "--batches is '8,0'"),
        ("study ner recipe.yaml --run-folds=-1", "--run-folds is '-1'"),
    ],
)
def test_lists_of_numbers_too(command: str, words: str) -> None:
    with pytest.raises(SlonikError, match=words):
        build_app()(command.split(), standalone_mode=False)


def test_a_bench_of_nothing_is_refused() -> None:
    for name in ("threads", "rounds", "cold_starts"):
        with pytest.raises(SlonikError, match=f"{name} is 0: give a whole number of 1 or more"):
            bench("nothing", **{name: 0})


def test_bounds_are_said() -> None:
    for said, bounds in (
        ("a number above 0 and at most 1", {"above": 0, "most": 1}),
        ("a number from 0 and below 1", {"least": 0, "below": 1}),
        ("a number above 0", {"above": 0}),
        ("a number from 0 to 1", {"least": 0, "most": 1}),
    ):
        with pytest.raises(SlonikError, match=rf"^x is -2: give {said}$"):
            check_number("x", -2, **bounds)
    with pytest.raises(SlonikError, match="n is 2: give a whole number of 3 or more"):
        check_count("n", 2, least=3)
    check_count("n", None)
    check_seed(2**32 - 1)


def test_fields_of_recipes_are_finite() -> None:
    class Recipe(Config):
        rate: float

    for value in ("nan", "inf", float("inf")):
        with pytest.raises(SlonikError, match="the field 'rate' is"):
            build_config(Recipe, {"rate": value})
