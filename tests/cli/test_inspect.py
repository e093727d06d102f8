"""`slonik inspect` writes records, pictures and self-contained pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from slonik.cli.main import main
from slonik.core.records import read_records
from slonik.inspection.page import inspection_page
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
    same = [r for r in records if r.metric == "similarity" and r.task == f"layer_{r.layer}" and r.model == model]
    assert [round(r.value or 0, 6) for r in same] == [1.0, 1.0, 1.0]
    assert (plots / "masking.png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert "Слон &lt;идёт&gt; домой." in text
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/\S+", "", text)


def test_the_page_of_a_text_is_made_from_records_alone_and_runs_one_script(tmp_path: Path) -> None:
    model = str(tiny.checkpoint(tmp_path / "model", "bert"))
    other = str(tiny.checkpoint(tmp_path / "other", "gpt2"))
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    text = "Слон </script> <b>идёт</b> домой."
    _run(model, "--attention", text, "--attribution", text, "--pair", "Дом", "--neighbours", text, "--beside", other,
         "--json", str(out), "--html", str(page))  # fmt: skip
    whole = page.read_text(encoding="utf-8")
    records = read_records(out)
    assert inspection_page(model, records) == whole
    again = tmp_path / "again.html"
    with pytest.raises(SystemExit) as exit_:
        main(["report", str(out), "--html", str(again)])
    assert exit_.value.code == 0 and again.read_text(encoding="utf-8") == whole
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', whole)
    assert data is not None
    content = json.loads(data.group(1))
    assert [one["model"] for one in content["attention"]] == [model, other]
    side = content["attention"][0]["stacks"][0]["rows"]
    assert side["text"] == text and len(side["tokens"]) == len(side["word"])
    assert [len(one["layers"]) for one in content["neighbours"]] == [3, 3]
    script = re.findall(r"<script>(.*?)</script>", whole, flags=re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"sha256-{digest}" in whole and "<b>идёт" not in whole
    keys = [record.key() for record in records]
    assert len(keys) == len(set(keys))


def test_the_terminal_shows_what_the_page_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.checkpoint(tmp_path / "model", "gpt2")
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)
    _run(str(folder), "--lens", "Слон идёт.", "--neighbours", "Слон идёт.", "--layer", "1", "--limit", "20")
    shown = capsys.readouterr().out
    assert "Logit lens" in shown and "rank of the one that stands" in shown
    assert "Nearest text in every layer" in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["MODEL"], "say what to look at"),
        (["MODEL", "--heads", "--limit", "1"], "--limit is 1"),
        (["MODEL", "--attention", "Слон", "--limit", "9"], "--limit is 9, and --attention looks at one text"),
        (["MODEL", "--heads", "--orders", ","], "--orders names none"),
        (["MODEL", "--like", "MODEL", "--measures", " "], "--measures names none"),
        (["MODEL", "--attention", " "], "no text to look at"),
        (["MODEL", "--target", "дом"], "--target belongs to --attention"),
        (["MODEL", "--heads", "--pair", "дом"], "--pair belongs to --attribution"),
        (["MODEL", "--attention", "Слон", "--target", "дом"], "no encoder-decoder"),
        (["MODEL", "--attribution", "Слон"], "no head whose score"),
        (["MODEL", "--lens", "Слон"], "no language-model head of its own"),
        (["MODEL", "--neighbours", "Слон", "--layer", "9"], "has no layer 9"),
        (["MODEL", "--heads", "--beside", "MODEL"], "--beside shows texts"),
        (["MODEL", "--heads", "--treebank", "x.conllu"], "--treebank belongs to --attention"),
        (["MODEL", "--heads", "--no-twin"], "--twin belongs to one of --attention, --like, --neurons"),
        (["MODEL", "--like", "MODEL", "--orders", "gate"], "--orders belongs to --heads"),
        (["MODEL", "--heads", "--measures", "cka"], "--measures belongs to --like"),
        (["MODEL", "--lens", "Слон", "--texts", "x.txt"], "--texts belongs to one of"),
        (["MODEL", "--lens", "Слон", "--png", "plots"], "--png belongs to one of"),
        (["MODEL", "--heads", "--data-dir", "data"], "--data-dir belongs to one of --neurons"),
        (["MODEL", "--attention", "Слон", "--beside", "navec"], "navec is no transformer"),
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


def test_what_compression_cost_and_what_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny.checkpoint(tmp_path / "model", "bert"))
    rows = [
        f"{('tr', 'tr', 'va', 'te')[n % 4]}\t{n // 4 % 2}\t{tiny.TEXTS[n % 40]}{' !' * (n // 4 % 2)}"
        for n in range(120)
    ]
    (tmp_path / "own.txt").write_text("\n".join(rows), encoding="utf-8")
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    _run(model, "--erase", "own", "--layer", "1", "--data-dir", str(tmp_path), "--json", str(out))
    shown = capsys.readouterr()
    assert "property erased" in shown.out
    assert "not measured: the pair tasks of encodechka" in shown.err
    assert {r.layer for r in read_records(out)} == {1}
    _run(model, "--teacher", model, "--data-dir", str(tmp_path), "--html", str(page), "--limit", "100")
    assert "Of 1 properties none is lost for sure" in capsys.readouterr().out
    assert "What compression cost" in page.read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", model, "--erase", "own", "--layer", "7", "--data-dir", str(tmp_path)])
    assert exit_.value.code == 2
    assert "there is no layer 7" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["inspect", model, "--teacher", model, "--heads"])
    assert "--teacher makes tables and a page of its own" in capsys.readouterr().err
