"""Exports of tiny models, each made once per test session, whichever process asks first."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from slonik.exporting.report import ExportReport
from slonik.exporting.run import export
from tests import folders, tiny

LAYERS = {"xlm-roberta": 1, "deberta-v2": 1}
"""Two stand where layers differ, and where tests count them; each takes torch a second."""


def _root() -> Path:
    return folders.of_session("exported")


@cache
def checkpoint(family: str) -> Path:
    """A tiny checkpoint of `family` with prefixes, normalised vectors and 64 positions."""
    return folders.once(_root() / family, lambda: _checkpoint(family))


def _checkpoint(family: str) -> Path:
    folder = tiny.checkpoint(_root() / family, family, layers=LAYERS.get(family, 2))
    (folder / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "запрос: "}, "default_prompt_name": "query"}', encoding="utf-8"
    )
    return folder


def exported(family: str, int8: str = "dynamic") -> tuple[Path, ExportReport]:
    """The exported folder of that checkpoint, and its report; "static" has an fp16 file too; speed is not measured."""
    return _exported(family, int8)


@cache
def _exported(family: str, int8: str) -> tuple[Path, ExportReport]:
    out = _root() / f"{family}-{int8}"
    return out, folders.once(out, lambda: _export(family, int8, out))


def _export(family: str, int8: str, out: Path) -> ExportReport:
    static = int8 == "static"
    made: ExportReport = export(
        checkpoint(family), out, int8=int8, fp16=static, docker=True, measure_speed=False  # type: ignore[arg-type]
    )  # fmt: skip
    return made
