"""`slonik study ner` and `slonik finetune --task ner` from the shell's side: files out, mistakes in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from slonik.cli.main import main
from slonik.data.annotations.formats import write_spans_jsonl
from slonik.tagging import making
from tests.tagging.models.toys import documents, table

SIZES = {"hidden": 8, "character_features": 8, "learnt_words": 8}


@pytest.fixture(autouse=True)
def _small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "navec_table", table)


def run(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_ladder_writes_records_table_page_and_taggers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, recipe, out = tmp_path / "toy.jsonl", tmp_path / "recipe.yaml", tmp_path / "out"
    write_spans_jsonl(documents(), data)
    systems = [
        {"name": name, "kind": "bilstm", "crf": crf, "sizes": SIZES, "tuning": {"epochs": 1}}
        for name, crf in (("BiLSTM", False), ("BiLSTM-CRF", True))
    ]
    recipe.write_text(yaml.safe_dump({"folds": 2, "systems": systems, "mapping": {"drop": ["LOC"]}}), encoding="utf-8")
    files = ("--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "page.html"))
    assert run("study", "ner", str(recipe), "--data", str(data), "--out", str(out), *files) == 0
    records = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert {one["task"] for one in records} == {"toy"}
    assert {one["model"] for one in records} == {"BiLSTM", "BiLSTM-CRF", "BiLSTM-CRF - BiLSTM"}
    assert "BiLSTM-CRF" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (out / "table.md").is_file() and (out / "taggers" / "BiLSTM-fold0" / "tagger.json").is_file()
    assert run("show", str(out / "taggers" / "BiLSTM-fold0")) == 0
    assert "tagger, bilstm" in capsys.readouterr().out
    assert run("study", "ner", str(recipe), "--data", str(data), "--out", str(out), "--system", "BiLSTN") == 2
    assert "did you mean 'BiLSTM'" in capsys.readouterr().err
    assert run("study", "ner", str(recipe), "--data", str(data), "--out", str(out), "--run-folds", "0-1") == 2
    assert "--run-folds is '0-1'" in capsys.readouterr().err


def test_one_tagger_and_its_student(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, texts = tmp_path / "toy.jsonl", tmp_path / "texts.txt"
    write_spans_jsonl(documents(), data)
    texts.write_text("Хакер из города Тверь снова напал на банк, пишет газета.\n", encoding="utf-8")
    sizes = [part for name, value in SIZES.items() for part in ("--set", f"system.sizes.{name}={value}")]
    given = ("--task", "ner", "--data", str(data), "--epochs", "1", *sizes)
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("finetune", "bilstm", *given, "--out", str(first)) == 0
    lesson = ("--teacher", str(first), "--unlabelled", str(texts))
    assert run("finetune", "bilstm-crf", *given, *lesson, "--out", str(second)) == 0
    assert json.loads((second / "tagger.json").read_text(encoding="utf-8"))["sizes"]["crf"] is True
    step = json.loads((second / "passport.json").read_text(encoding="utf-8"))["lineage"][-1]
    assert step["summary"]["unlabelled"] == 1 and "teacher" in step["inputs"]
    assert run("finetune", "bilstm", *given, "--unlabelled", str(texts), "--out", str(tmp_path / "x")) == 2
    assert "need a --teacher" in capsys.readouterr().err


def test_options_that_do_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(tmp_path / "x"))
    assert run("finetune", "bilstm", "--task", "ner", "--data", "d", *out, "--seeds", "3", "--no-training") == 2
    assert "--seeds, --training cannot be used with --task ner" in capsys.readouterr().err
    assert run("finetune", "bilstm", "--task", "ner,terra", *out) == 2
    assert "ner goes alone" in capsys.readouterr().err
    assert run("finetune", "some-bert", "--task", "terra", *out, "--mapping", "m.yaml", "--no-crf") == 2
    assert "--mapping, --crf cannot be used without --task ner" in capsys.readouterr().err
    assert run("finetune", "bilstm", "--task", "ner", *out) == 2
    assert "name your annotated texts with --data" in capsys.readouterr().err
