"""Distributions as pip would leave them, without pip: on the path, with an entry point."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slonik.exporting.package.distribution import package_name


def install(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, *, package: str | None = None) -> Path:
    """Put the distribution in the folder `root` first on the path, and return the model's folder in it.

    Args:
        package: what the entry point names; None = the distribution's own package.
    """
    own = package_name(name)
    facts = root / "src" / f"{own}-0.0.1.dist-info"
    facts.mkdir(parents=True, exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(f"[slonik.models]\n{name} = {package or own}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(root / "src"))
    monkeypatch.delitem(sys.modules, own, raising=False)
    return root / "src" / own / "model"
