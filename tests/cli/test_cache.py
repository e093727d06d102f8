"""`slonik cache` and `slonik cache clear`."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import cache


def test_show_then_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    cache.register(app)
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path))
    assert "nothing is kept" in CliRunner().invoke(app, ["cache"]).output
    folder = tmp_path / "training" / "states" / "one"
    folder.mkdir(parents=True)
    (folder / "rows.raw").write_bytes(b"x" * 2_500_000)
    shown = CliRunner().invoke(app, ["cache"])
    assert (
        shown.exit_code == 0
        and "training/states" in shown.output
        and "2.5 MB" in shown.output
        and "today" in shown.output
    )
    assert "0 removed" in CliRunner().invoke(app, ["cache", "clear", "training", "--unused-days", "1"]).output
    assert "1 removed" in CliRunner().invoke(app, ["cache", "clear", "training"]).output
    assert not folder.exists()
