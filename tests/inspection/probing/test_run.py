"""A whole probing run on tiny models: records, cache, comparison, command, page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slonik
from slonik.cli.main import main
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.inspection.probing.report import probing_tables
from slonik.inspection.probing.run import Options, baseline_records, compare, probe, probing
from slonik.inspection.probing.tasks import read_tasks
from slonik.models.pooling import reading_part
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one task: does the sentence end in "!"."""
    monkeypatch.setenv("SLONIK_CACHE", str(tmp_path / "cache"))
    rows = []
    for number in range(120):
        label = number % 2
        text = f"{tiny.TEXTS[number % 40][:25]} {number}{' !' if label else ' .'}"
        rows.append(f"{('tr', 'tr', 'tr', 'va', 'te')[number % 5]}\t{label}\t{text}")
    (tmp_path / "data" / "rusenteval").mkdir(parents=True)
    (tmp_path / "data" / "rusenteval" / "gapping.txt").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path / "data"


@pytest.mark.parametrize("family", ("bert", "gpt2", "t5"))
def test_layers_are_the_models_own(tmp_path: Path, family: str) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, family))
    texts = tiny.TEXTS[:5]
    found = encoder.encode_layers(texts, ("mean", "cls", "last"))
    for row, ids in enumerate(encoder.tokenize(texts, "")):
        with torch.no_grad():
            states = reading_part(encoder.model)(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        for layer, state in enumerate(states):
            for kind, expected in (("mean", state[0].mean(0)), ("cls", state[0, 0]), ("last", state[0, -1])):
                np.testing.assert_allclose(found[kind][layer, row], expected.numpy(), atol=2e-2, rtol=1e-2)
    with pytest.raises(SlonikError, match="cannot be pooled"):
        encoder.encode_layers(texts, ("max",))


def test_records_cache_and_comparison(tmp_path: Path, folder: Path) -> None:
    tasks, missing = read_tasks(folder)
    assert len(missing) == 13
    encoder = slonik.load(tiny.checkpoint(tmp_path / "model", "bert"))
    options = Options(probes=("logistic", "mdl"), seeds=(0, 1))
    first = probe(encoder, tasks, options)
    keys = [record.key() for record in first.records]
    assert len(keys) == len(set(keys))
    layers = [r.layer for r in first.records if r.metric == "accuracy"]
    assert layers == [0, 1, 2, None]
    whole = next(r for r in first.records if r.metric == "accuracy" and r.layer is None)
    chosen = next(r for r in first.records if r.metric == "accuracy" and r.layer == whole.detail["layer"])
    assert whole.value == chosen.value
    assert whole.low is not None
    assert whole.high is not None
    assert whole.low <= whole.value <= whole.high  # type: ignore[operator]
    assert {"weights", "data", "protocol"} <= set(whole.hashes)
    again = probe(encoder, tasks, options)
    assert (again.encoded, again.reused) == (0, 120)
    assert [r.value for r in again.records] == [r.value for r in first.records]
    for block in (tmp_path / "cache" / "layers").rglob("*.arrays"):
        block.write_bytes(b"damaged")
    assert probe(encoder, tasks, options).encoded == 120
    (difference,) = compare([first, again])
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_all_poolings_take_one_pass(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, _ = read_tasks(folder)
    encoder = slonik.load(tiny.checkpoint(tmp_path / "model", "gpt2"))
    passes: list[tuple[int, list[str]]] = []
    whole = encoder.encode_layers  # type: ignore[attr-defined]

    def counted(texts: list[str], poolings: list[str], *, prefix: str | None) -> Any:
        passes.append((len(texts), list(poolings)))
        return whole(texts, poolings, prefix=prefix)

    monkeypatch.setattr(encoder, "encode_layers", counted)
    alone = probe(encoder, tasks, Options(poolings=("cls",), control=False))
    both = probe(encoder, tasks, Options(poolings=("cls", "mean", "last"), control=False))
    assert passes == [(120, ["cls"]), (120, ["mean", "last"])]
    assert [r.value for r in both.records if r.variant == "logistic_cls"] == [r.value for r in alone.records]
    fresh = probe(encoder, tasks, Options(poolings=("last",), control=False, use_cache=False))
    assert [r.value for r in both.records if r.variant == "logistic_last"] == [r.value for r in fresh.records]
    assert len(passes) == 3


def test_several_tasks_have_a_mean_with_paired_differences(tmp_path: Path, folder: Path) -> None:
    text = (folder / "rusenteval" / "gapping.txt").read_text(encoding="utf-8")
    (folder / "rusenteval" / "sent_len.txt").write_text(text.replace(" !", " ?"), encoding="utf-8")
    tasks, _ = read_tasks(folder)
    assert [data.task.id for data in tasks] == ["sent_len", "gapping"]
    found = [probe(slonik.load(name), tasks, Options(control=False)) for name in ("hashing_300", "hashing_300_char")]
    for one in found:
        own = {r.task: r.value for r in one.records if r.layer is None}
        assert own["mean"] == pytest.approx((own["sent_len"] + own["gapping"]) / 2)  # type: ignore[operator]
    differences = {r.task: r for r in compare(found)}
    values = [differences[task].value or 0.0 for task in ("sent_len", "gapping")]
    assert differences["mean"].value == pytest.approx(sum(values) / 2)
    averages = {r.model: r for r in baseline_records(tasks) if r.task == "mean"}
    assert averages["majority"].low <= averages["majority"].value <= averages["majority"].high  # type: ignore[operator]


def test_baselines_of_one_vector_count_as_one_layer(folder: Path) -> None:
    tasks, _ = read_tasks(folder)
    found = probe(slonik.load("hashing_300"), tasks, Options(control=False))
    assert [r.layer for r in found.records] == [0, None]


def test_command(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny.checkpoint(tmp_path / "model", "xlm-roberta")
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    arguments = ["evaluate", "probing", str(model), "--data-dir", str(folder), "--json", str(out), "--html", str(page)]
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "gapping" in shown
    assert "majority" in shown
    assert "not probed" in shown
    records = read_records(out)
    names = {record.model for record in records}
    assert {"majority", "length", "tfidf_words", "tfidf_chars", "tfidf_bpe", str(model)} <= names
    assert {record.suite for record in records} == {"probing"}
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "http-equiv" in text
    (table, *_) = probing_tables(records)
    assert table.columns[:3] == ("task", str(model), "majority")
    assert table.rows[0].cells[0].text == "gapping"
    assert table.rows[0].cells[1].text.endswith("]")


def test_library_takes_loaded_encoders_and_rows_and_is_silent(
    tmp_path: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tiny.checkpoint(tmp_path / "model", "bert")
    encoder = slonik.load(checkpoint)
    capfd.readouterr()
    lines = (folder / "rusenteval" / "gapping.txt").read_text(encoding="utf-8").splitlines()
    rows = [tuple(line.split("\t")) for line in lines]
    given = probing(encoder, data={"gapping": rows}, control=False, baselines=False)  # type: ignore[dict-item]
    read = probing([checkpoint, "hashing_300"], data_dir=folder, control=False, baselines=False, passport=True)
    assert [r.value for r in given.records] == [r.value for r in read.records if r.model == str(checkpoint)]
    assert {r.model for r in read.records if r.metric == "difference"} == {"hashing_300"}
    assert [table.title for table in read.tables] == ["Probing, logistic", "Probing, logistic: differences"]
    assert any("not probed" in note for note in read.notes)
    own = Passport.read(checkpoint).records
    assert [(r.task, r.layer) for r in own] == [("gapping", None)]
    assert capfd.readouterr() == ("", "")
    probing("hashing_300", data_dir=folder, baselines=False, progress=True)
    assert "hashing_300: gapping" in capfd.readouterr().err


def test_json_goes_through_what_is_there(tmp_path: Path, folder: Path) -> None:
    target, link = tmp_path / "there.json", tmp_path / "link.json"
    link.symlink_to(target)
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", "probing", "hashing_300", "--data-dir", str(folder), "--no-baselines", "--json", str(link)])
    assert exit_.value.code == 0
    assert link.is_symlink()
    assert read_records(target)


def test_no_data_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="slonik data probing"):
        read_tasks(tmp_path)
    with pytest.raises(SlonikError, match="did you mean 'gapping'"):
        read_tasks(tmp_path, ["gaping"])
    with pytest.raises(SlonikError, match="--limit is 0"):
        read_tasks(tmp_path, limit=0)
    with pytest.raises(SlonikError, match="--probes names none"):
        probe(slonik.load("hashing_300"), [], Options(probes=()))
    with pytest.raises(SlonikError, match="--seeds names none"):
        probe(slonik.load("hashing_300"), [], Options(seeds=()))
