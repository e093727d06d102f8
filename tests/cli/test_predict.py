"""`slonik predict`: lines in, answers out in their order; bad lines are reported in their place and end in code 2."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import slonik
from slonik.cli.main import main
from tests import tiny
from tests.exporting.heads.headed import checkpoint, exported
from tests.finetuning import finetune_data


@pytest.fixture()
def data(tmp_path: Path) -> Path:
    return finetune_data.terra(tmp_path / "data")


def run(
    arguments: list[str], lines: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, Any]], str]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    with pytest.raises(SystemExit) as ended:
        main(["predict", *arguments])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), [json.loads(line) for line in shown.out.splitlines()], shown.err


def test_a_baseline_answers_in_order_whatever_the_batch(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (data / "russian_superglue" / "TERRa" / "test.jsonl").read_bytes()
    found = []
    for size in ("1", "4", "100"):
        given = ["terra", "tfidf", "--batch-size", size, "--data-dir", str(data)]
        code, answers, _ = run(given, b"\xef\xbb\xbf" + lines, monkeypatch, capsys)
        assert code == 0
        assert [answer["idx"] for answer in answers] == list(range(6))
        assert all(set(answer) == {"idx", "label"} for answer in answers)
        found.append(answers)
    assert found[0] == found[1] == found[2]
    given = ["terra", "majority", "--train-data", str(data / "russian_superglue" / "TERRa" / "train.jsonl")]
    _, answers, _ = run([*given, "--probabilities"], lines, monkeypatch, capsys)
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)


def test_bad_lines_stand_in_their_place(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (data / "russian_superglue" / "TERRa" / "test.jsonl").read_bytes().splitlines()
    lines = b"\n".join([good[0], b"{broken", b"", b'{"idx": 7, "premise": "\xd0\x90"}', b"\xff\xfe", good[1]])
    given = ["terra", "majority", "--data-dir", str(data), "--batch-size", "2"]
    code, answers, said = run(given, lines, monkeypatch, capsys)
    assert code == 2 and "3 lines were not answered" in said
    assert [answer.get("line") for answer in answers] == [None, 2, 4, 5, None]
    assert answers[2]["idx"] == 7 and "hypothesis" in answers[2]["error"]
    assert [answer["idx"] for answer in answers if "label" in answer] == [0, 1]
    code, answers, said = run([*given, "--bad-lines", "skip"], lines, monkeypatch, capsys)
    assert code == 0 and len(answers) == 2 and "warning" in said
    code, answers, said = run([*given, "--bad-lines", "stop"], lines, monkeypatch, capsys)
    assert code == 2 and "line 2" in said


def test_what_cannot_answer_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, sentence in (
        (["terra", "majorty"], "did you mean 'majority'"),
        (["tera", "majority"], "did you mean 'terra'"),
        (["rcb", "majority", "--data-dir", str(data)], "needs training data for rcb"),
        (["terra", "majority", "--bad-lines", "x"], "report, skip or stop"),
    ):
        code, _, said = run(given, b"", monkeypatch, capsys)
        assert code == 2 and sentence in said


def test_a_folder_that_says_what_it_does_needs_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = slonik.load(checkpoint("classifier")).predict(["слон", "", "мышь"])
    lines = "слон\n\nмышь\n".encode()
    for given in ([], ["--from", "text"]):
        for model in (checkpoint("classifier"), exported("classifier")[0]):
            code, answers, said = run([str(model), *given, "--batch-size", "2"], lines, monkeypatch, capsys)
            assert code == 0, said
            assert [answer["label"] for answer in answers] == [one.label for one in expected]
    file = tmp_path / "rows.txt"
    file.write_bytes(b'{"text": "\xd1\x81\xd0\xbb\xd0\xbe\xd0\xbd", "idx": 7}\n["a", "b"]\n"c"\n{"texts": 1}\n')
    code, answers, said = run([str(exported("classifier")[0]), str(file), "--probabilities"], b"", monkeypatch, capsys)
    assert code == 2 and "line 4" in said
    assert answers[0]["idx"] == 7 and answers[0]["probabilities"].keys() == {"да", "нет", "1"}
    assert [set(answer) >= {"label"} for answer in answers] == [True, True, True, False]


def test_two_texts_of_a_line_have_a_tab_between_them_and_long_lines_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(exported("pairs")[0])
    code, answers, _ = run([folder], "а\tб\nв\tг".encode(), monkeypatch, capsys)
    assert code == 0 and [answer["label"] in "01" for answer in answers] == [True, True]
    for model in (folder, str(checkpoint("pairs"))):
        code, _, said = run([model], ("слон " * 200 + "\tб\nв\tг").encode(), monkeypatch, capsys)
        assert code == 0 and "1 of 2 rows are longer than the" in said
    lines = ("а\tб\n" + "слон " * 200 + "\tб\nодин\nв\tг").encode()
    code, answers, said = run([folder, "--long-texts", "refuse"], lines, monkeypatch, capsys)
    assert code == 2 and ["label" in answer for answer in answers] == [True, False, False, True]
    assert "line 2" in answers[1]["error"] and "line 3" in answers[2]["error"] and "2 lines" in said


def test_options_and_models_that_do_not_go_together_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier, tagger = str(exported("classifier")[0]), str(exported("tagger")[0])
    for given, sentence in (
        ([tagger], "slonik tag"),
        (["terra", classifier], "not for terra"),
        ([classifier, "--long-texts", "cut"], "--long-texts is 'cut'"),
        ([classifier, "--from", "csv"], "use text or jsonl"),
        (["majority"], "no task of its own"),
        ([str(tiny.checkpoint(tmp_path / "encoder"))], "an encoder without a head"),
        (["terra", "majority", "--long-texts", "refuse"], "leave --long-texts out"),
    ):
        code, _, said = run(given, b"x", monkeypatch, capsys)
        assert code == 2 and sentence in said, given
