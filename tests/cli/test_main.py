"""For every command: a mistake is one sentence and exit code 2; one command alone runs in several processes."""

from __future__ import annotations

import pytest

from slonik.cli.main import main


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_torchrun_is_refused_by_commands_that_work_in_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = _refused(["adapt", "model", "--corpus", "x.txt", "--out", "y"], capsys)
    assert "slonik adapt works in one" in said and "Traceback" not in said
    assert "missing.yaml" in _refused(["pretrain", "missing.yaml"], capsys)  # its own mistake, not the processes
    assert "no-such-folder" in _refused(["show", "no-such-folder"], capsys)  # only reads
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert "WORLD_SIZE" not in _refused(["adapt", "no-such-model", "--corpus", "x.txt", "--out", "y"], capsys)


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(["show", "no-such-folder"], capsys)
    assert said.startswith("error: ") and said.count("\n") == 1
