"""A bad field fails before any work, in one sentence with its name, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from slonik.core.config import Config, parse_overrides, read_config
from slonik.core.errors import SlonikError


class Inner(Config):
    """A nested part."""

    epochs: int = Field(1, ge=1)


class Outer(Config):
    """A recipe."""

    model: str
    inner: Inner = Inner()
    maybe: Inner | None = None


def test_file_and_overrides_meet(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a\ninner:\n  epochs: 2\n")
    config = read_config(Outer, tmp_path / "r.yaml", parse_overrides(["inner.epochs=5"]) | {"model": None})
    assert (config.model, config.inner.epochs) == ("a", 5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: a\nmodle: b\n", "unknown field 'modle'; did you mean 'model'"),
        ("model: a\ninner: {epoch: 3}\n", "did you mean 'inner.epochs'"),
        ("model: a\nmaybe: {epoch: 3}\n", "did you mean 'maybe.epochs'"),
        ("model: a\ninner: {epochs: 0}\n", "'inner.epochs' is 0"),
        ("inner: {}\n", "'model' is missing"),
        ("- a\n", "not a mapping"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(SlonikError, match=sentence.replace("(", "\\(")):
        read_config(Outer, tmp_path / "r.yaml")


def test_missing_recipe_and_bad_override(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="no recipe"):
        read_config(Outer, tmp_path / "none.yaml")
    with pytest.raises(SlonikError, match="key=value"):
        parse_overrides(["epochs"])
