"""`slonik inspect` writes records, pictures and self-contained pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from slonik.cli.main import main
from slonik.core.errors import SlonikError
from slonik.core.records import read_records
from slonik.inspection.page import head_view
from tests import tiny


def _run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", *arguments])
    assert exit_.value.code == 0


def test_heads_similarity_and_attention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny.checkpoint(tmp_path / "model", "bert"))
    out, page, plots = tmp_path / "out.json", tmp_path / "out.html", tmp_path / "plots"
    _run(model, "--heads", "--orders", "gate,magnitude", "--like", model, "--attention", "Слон <идёт> домой.",
         "--limit", "5", "--json", str(out), "--html", str(page), "--png", str(plots))  # fmt: skip
    shown = capsys.readouterr().out
    assert "Masking heads" in shown
    assert "What heads attend to" in shown
    alone = [r for r in read_records(out) if r.variant == "attention"]
    assert alone
    assert {(r.low, r.high) for r in alone} == {(None, None)}  # one text has no interval
    records = read_records(out)
    keys = [record.key() for record in records]
    assert len(keys) == len(set(keys))
    same = [r for r in records if r.metric == "similarity" and r.task == f"layer_{r.layer}"]
    assert [round(r.value or 0, 6) for r in same] == [1.0, 1.0, 1.0]
    assert (plots / "masking.png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert "Слон &lt;идёт&gt; домой." in text
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/\S+", "", text)


def test_the_page_of_a_sentence_holds_its_weights_and_runs_one_script() -> None:
    weights = np.random.default_rng(0).random((2, 3, 3))
    text = head_view("модель", "а </script> б", ["а", "</script>", "б"], [weights])
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert data is not None
    content = json.loads(data.group(1))
    assert content["tokens"] == ["а", "</script>", "б"]
    packed = np.frombuffer(base64.b64decode(content["layers"][0]["weights"]), np.uint8).reshape(2, 3, 3)
    np.testing.assert_allclose(packed / 255, weights, atol=1 / 255)
    script = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"sha256-{digest}" in text
    with pytest.raises(SlonikError, match="does not fit"):
        head_view("m", "т", ["т"], [weights])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["MODEL"], "say what to look at"),
        (["MODEL", "--heads", "--limit", "1"], "--limit is 1"),
        (["MODEL", "--heads", "--orders", ","], "--orders names none"),
        (["MODEL", "--like", "MODEL", "--measures", " "], "--measures names none"),
        (["MODEL", "--attention", " "], "no text to look at"),
        (["MODEL", "--attention", "Слон", "--treebank", "nowhere.conllu"], "nowhere.conllu"),
        (["navec", "--heads"], "navec is no transformer"),
        (["MODEL", "--like", "hashing_300"], "hashing_300 is no transformer"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny.checkpoint(tmp_path / "model", "bert"))
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", *(model if name == "MODEL" else name for name in arguments)])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
