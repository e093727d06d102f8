"""`slonik generate`: prompts as options, lines and JSON Lines; `slonik pretrain --dry-run`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slonik.cli.main import build_app
from slonik.core.errors import SlonikError
from slonik.models.fresh import Shape, TokenIds, build
from slonik.text.tokenizing import write_tokenizer
from tests import tiny

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "pretrain"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2."""
    folder, tokenizer = tmp_path_factory.mktemp("gpt2"), tiny.tokenizer("bpe")
    shape = Shape(family="gpt2", layers=2, hidden=32, heads=4, max_length=64)
    build(shape, TokenIds(tokenizer.get_vocab_size(), pad=1, bos=0, eos=2)).save_pretrained(folder)
    write_tokenizer(tokenizer, folder, names={"eos_token": "</s>", "bos_token": "<s>"}, max_length=64, types=False)
    return folder


def _run(*arguments: str, text: str | None = None) -> str:
    done = CliRunner().invoke(build_app(), ["generate", *arguments, "--max-tokens", "5"], input=text)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_prompts_give_the_same_texts_by_every_door(decoder: Path) -> None:
    prompts = ["Слон", "Снег идёт"]
    options = [part for prompt in prompts for part in ("--prompt", prompt)]
    plain = _run(str(decoder), *options)
    assert all(line.startswith(prompt) for line, prompt in zip(plain.split("\n"), prompts, strict=False))
    assert plain.strip("\n")
    lines = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    found = [json.loads(line) for line in _run(str(decoder), "--jsonl", text=lines).splitlines()]
    assert [row["prompt"] for row in found] == prompts
    assert "".join(f"{row['prompt']}{row['text']}\n" for row in found) == plain
    assert _run(str(decoder), *options, "--stream") == plain
    assert _run(str(decoder), *options, "--batch-size", "1") == plain
    assert _run(str(decoder), *options, "--seed", "9") != plain
    escaped = _run(str(decoder), text="".join(f"{prompt}\n" for prompt in prompts))
    assert escaped == "".join(f"{row['prompt']}{row['text']}".replace("\n", "\\n") + "\n" for row in found)


@pytest.mark.parametrize("line", ["not json", '{"text": "слон"}', "[1]"])
def test_a_bad_line_is_named(decoder: Path, line: str) -> None:
    with pytest.raises(SlonikError, match="line 1 of standard input"):
        _run(str(decoder), "--jsonl", text=line + "\n")


def test_dry_run_prints_costs_and_writes_records(tmp_path: Path) -> None:
    arguments = ["pretrain", str(RECIPES / "fred_t5_paper.yaml"), "--dry-run", "--processes", "112"]
    done = CliRunner().invoke(build_app(), [*arguments, "--json", str(tmp_path / "costs.json")])
    assert done.exit_code == 0, done.output
    assert "1,7" in done.stdout and "A100 days" in done.stdout
    records = {row["metric"]: row["value"] for row in json.loads((tmp_path / "costs.json").read_text(encoding="utf-8"))}
    assert records["parameters"] == pytest.approx(1.74e9, rel=0.01)
    # 6 FLOPs per parameter and token at least; an encoder-decoder spends each on one of its two streams.
    assert 2 < records["flops"] / records["tokens"] / records["parameters"] < 8
