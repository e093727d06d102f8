"""`slonik export` and `slonik encode` from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik.cli.main import main
from tests import tiny
from tests.exporting.exported import checkpoint, exported


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def test_export_writes_the_folder_and_records_and_says_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    records = tmp_path / "records.json"
    assert _run("export", str(checkpoint("bert")), "--out", str(out), "--int8", "none", "--json", str(records)) == 0
    assert (out / "onnx" / "model.onnx").is_file()
    assert not (out / "onnx" / "model_quantized.onnx").exists()
    figures = {(item["task"], item["metric"]) for item in json.loads(records.read_text())}
    assert {("fp32", "max_difference"), ("fp32", "ms_per_text"), ("torch", "ms_per_text")} <= figures
    assert "than torch" in capsys.readouterr().out


def test_export_refuses_a_full_folder_and_a_wrong_scheme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert _run("export", str(checkpoint("bert")), "--out", str(tmp_path)) == 2
    assert _run("export", str(checkpoint("bert")), "--out", str(tmp_path / "x"), "--int8", "int4") == 2
    assert "use dynamic, static or none" in capsys.readouterr().err
    own = tiny.checkpoint(tmp_path / "own", "bert")
    for out, why in ((own, "is read itself"), (tmp_path, "which is read and would be replaced")):
        assert _run("export", str(own), "--out", str(out), "--overwrite") == 2
        assert why in capsys.readouterr().err
    assert (own / "model.safetensors").is_file()


def test_encode_reads_stdin_and_reports_bad_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = exported("bert")

    class Stdin:
        buffer = io.BytesIO("слон\n\nмышь\n".encode())

    monkeypatch.setattr("sys.stdin", Stdin())
    assert _run("encode", str(folder), "--out", str(tmp_path / "v.npy"), "--threads", "1") == 0
    vectors = np.load(tmp_path / "v.npy")
    assert np.allclose(vectors[[0, 2]], slonik.load(folder, threads=1).encode(["слон", "мышь"]), atol=1e-6)
    assert not vectors[1].any()
    assert "line 2: empty" in capsys.readouterr().err


def test_encode_reads_files_and_writes_jsonl_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("слон\nмышь\n", encoding="utf-8")
    assert _run("encode", str(exported("bert")[0]), str(texts), "--file", "model.onnx") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2]
    assert len(rows[0]["embedding"]) == 32


def test_encode_takes_baselines_and_refuses_nonsense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("слон\n", encoding="utf-8")
    assert _run("encode", "hashing_300", str(texts), "--out", str(tmp_path / "v.npy")) == 0
    assert np.load(tmp_path / "v.npy").shape == (1, 300)
    assert _run("encode", "hashing_300", str(tmp_path / "nowhere.txt")) == 2
    assert _run("encode", "hashing_300", str(texts), "--bad-lines", "ignore") == 2
    assert _run("encode", "hashing_300", str(texts), "--format", "npy") == 2
    assert "only jsonl goes to stdout" in capsys.readouterr().err
    assert _run("encode", "hashing_300", str(texts), "--threads", "2") == 2
    assert "--threads is for exported folders" in capsys.readouterr().err
