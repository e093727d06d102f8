"""For every command: a mistake is one sentence and exit code 2; which share out their work; what commands share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from slonik.cli import common
from slonik.cli.main import main
from slonik.core.errors import Interrupted, Lost, SlonikError
from slonik.core.passport import Passport
from slonik.core.records import Record


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_torchrun_is_refused_by_commands_that_work_in_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = _refused(["compress", "model", "--corpus", "x.txt", "--out", "y"], capsys)
    assert "slonik compress works in one" in said and "Traceback" not in said
    assert "torchrun --nproc-per-node 2" in _refused(["pretrain", "missing.yaml", "--processes", "2"], capsys)
    assert "missing.yaml" in _refused(["pretrain", "missing.yaml"], capsys)  # its own mistake, not the processes
    assert "no-such-folder" in _refused(["show", "no-such-folder"], capsys)  # only reads
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert "WORLD_SIZE" not in _refused(["compress", "no-such-model", "--corpus", "x.txt", "--out", "y"], capsys)


@pytest.fixture
def _handlers() -> Iterator[None]:
    kinds = (signal.SIGTERM, signal.SIGUSR1)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_command_with_the_code_that_says_to_run_it_again(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slonik.cli.main.build_app", lambda _: lambda **_: signal.raise_signal(number))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 75
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize(("error", "code"), [(Interrupted("saved"), 75), (Lost("gone"), 76), (SlonikError("no"), 2)])
def test_exit_codes_tell_a_scheduler_what_to_run_again(
    error: SlonikError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("slonik.cli.main.build_app", lambda _: fail)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == code


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(["show", "no-such-folder"], capsys)
    assert said.startswith("error: ") and said.count("\n") == 1


def test_quiet_leaves_out_progress_and_keeps_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, heard in ((["--quiet", "cache"], False), (["cache"], True)):
        with pytest.raises(SystemExit):
            main(arguments)
        common.announce("step one")
        common.warn("mind this")
        said = capsys.readouterr().err
        assert ("step one" in said) is heard and "warning: mind this" in said


def test_lists_by_commas() -> None:
    assert common.split_names(" STS, ti,,") == ["sts", "ti"]
    assert common.split_names("") is None and common.split_names(None) is None and common.split_names(",") is None
    assert common.split_names(None, "--tasks") is None
    for names in ("", " , "):
        with pytest.raises(SlonikError, match="--tasks names none"):
            common.split_names(names, "--tasks")
    assert common.split_numbers("8, 32", "--batches", least=1) == [8, 32]
    for text in ("8,x", "", "0"):
        with pytest.raises(SlonikError, match=r"--batches is .*whole numbers of at least 1"):
            common.split_numbers(text, "--batches", least=1)


def test_a_passport_is_written_for_folders_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [Record(suite="s", task="t", model="m", metric="f1", value=0.5)]
    common.add_to_passport(tmp_path, found)
    assert Passport.read(tmp_path).records == tuple(found)
    common.add_to_passport("embedded:nothing", found)
    (tmp_path / "passport.json").write_text("nonsense")
    common.add_to_passport(tmp_path, found)
    assert "warning: the passport was not written" in capsys.readouterr().err
