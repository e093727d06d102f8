"""The front door: every name of the library, what its import costs, and what it refuses."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import slonik
from slonik import SlonikError
from slonik.core.errors import MissingExtra
from slonik.core.run import Result
from slonik.evaluation.suite import Evaluation
from slonik.reporting.table import Cell, Table

NAMES = (
    "load", "show", "compress", "distill", "prepare", "pretrain", "adapt", "finetune", "tag", "predict",
    "encode_folder", "tag_folder", "predict_folder", "generate", "evaluate", "export", "serve",
)  # fmt: skip


def test_the_import_brings_no_heavy_package() -> None:
    heavy = ("torch", "transformers", "numpy", "pydantic", "rich", "typer")
    code = f"import sys, slonik; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_every_function_of_the_library_is_there_typed_and_documented(name: str) -> None:
    function = getattr(slonik, name)
    signature = inspect.signature(function)
    assert callable(function)
    assert name in dir(slonik)
    assert len(inspect.getdoc(function) or "") > 80
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


@pytest.mark.parametrize(
    "name", ["compress", "distill", "prepare", "pretrain", "adapt", "finetune", "export", "evaluate"]
)
def test_what_makes_or_measures_gives_a_typed_result(name: str) -> None:
    function = getattr(slonik, name)
    home = sys.modules[function.__module__]
    names = str(inspect.signature(function).return_annotation).split(" | ")
    if names[0] in ("Result", "Evaluation"):
        return  # by the library's own functions, which choose a room
    assert all(issubclass(getattr(home, name_of_result), Result) for name_of_result in names)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        slonik.fly  # noqa: B018


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(slonik), "compress", raising=False)
    monkeypatch.delitem(sys.modules, "slonik.compression.compress", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=r"slonik\.compress needs an extra .*slonik\[train\]"):
        slonik.compress  # noqa: B018


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(SlonikError, match=r"unknown suite 'encodetchka'.*encodechka"):
        slonik.evaluate("hashing_300", "encodetchka")


def test_nothing_to_serve_is_refused() -> None:
    with pytest.raises(SlonikError, match="no model to serve"):
        slonik.serve([])


def test_what_was_measured_reads_as_tables_on_a_terminal_and_in_a_notebook() -> None:
    table = Table.of("encodechka", ["task", "value"], [["STS", Cell("0.8226", "[0.80, 0.84]")]], ["a note"])
    found = Evaluation(tables=(table,), warnings=("other data",))
    assert "STS" in str(found) and "0.8226" in str(found) and "warning: other data" in str(found)
    assert "| STS | 0.8226" in found._repr_markdown_()
    assert str(Result(checkpoint=Path("small"), seconds=2.0)) == "checkpoint: small\n0 records, 2.0 s"
