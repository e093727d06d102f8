"""`slonik evaluate retrieval` and `slonik finetune --task rerank`, as scripts run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli.main import add_command
from slonik.core.errors import SlonikError
from slonik.core.records import read_records
from tests import tiny
from tests.data.test_retrieval import write_set
from tests.finetuning.rerank.test_run import FAST, rows


@pytest.fixture
def app() -> typer.Typer:
    """An application with the commands of this file alone."""
    made = typer.Typer()
    made.callback()(lambda: None)
    for name in ("evaluate", "finetune", "predict"):
        add_command(made, name)
    return made


def test_retrieval_prints_tables_and_writes_records_and_rankings(app: typer.Typer, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    options = ["--data", str(folder), "--json", str(tmp_path / "found.json"), "--rankings", str(tmp_path / "rankings")]
    done = CliRunner().invoke(app, ["evaluate", "retrieval", "hashing_300", *options])
    assert done.exit_code == 0, done.output
    assert "retrieval: set" in done.output and "3 queries, 4 documents" in done.output
    models = dict.fromkeys(one.model for one in read_records(tmp_path / "found.json"))
    assert list(models) == ["bm25", "random", "hashing_300", "hashing_300 - bm25"]
    assert sorted(path.name for path in (tmp_path / "rankings").iterdir()) == ["bm25", "hashing_300", "random"]


def test_a_reranker_is_trained_measured_and_asked(app: typer.Typer, tmp_path: Path) -> None:
    base = tiny.checkpoint(tmp_path / "base", "bert")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(40))
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    sets = [part for one in FAST for part in ("--set", one)]
    call = ["finetune", str(base), "--task", "rerank", "--train", str(tmp_path / "rows.jsonl"), *sets]
    done = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "cross"), "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "untrained" in done.output and f"rerank: {tmp_path / 'cross'}" in done.output
    assert {one.task for one in read_records(tmp_path / "found.json")} == {"rerank"}
    asked = json.dumps({"query": "слон", "document": "слон в лесу"}, ensure_ascii=False) + "\n"
    answered = CliRunner().invoke(app, ["predict", "rerank", str(tmp_path / "cross")], input=asked.encode())
    assert answered.exit_code == 0, answered.output
    assert 0 < json.loads(answered.stdout.splitlines()[-1])["label"] < 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--task", "rerank", "--seeds", "2"], "--seeds cannot be used with --task rerank"),
        (["--task", "rerank,terra"], "rerank goes alone"),
        (["--task", "terra", "--mine", "bm25"], "--mine cannot be used without --task rerank"),
        (["--task", "ner", "--loss", "bce"], "--loss cannot be used with --task ner"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    app: typer.Typer, tmp_path: Path, options: list[str], sentence: str
) -> None:
    done = CliRunner().invoke(app, ["finetune", "MODEL", "--train", "x.jsonl", "--out", str(tmp_path / "o"), *options])
    assert isinstance(done.exception, SlonikError) and sentence in str(done.exception)
