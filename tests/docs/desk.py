"""A folder with the files that the pages name: tiny models, small corpora and data, recipes cut down to seconds.

The embedded models are tiny ones too: they lie in the cache folder, where `embedded:NAME` finds them made already, so
that a page runs in seconds as it is written. What a command makes on one page and another page reads, is here as well.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slonik.models.embedded import CHECKPOINTS
from tests import tiny
from tests.compression import toy_corpus
from tests.evaluation.encodechka import samples as encodechka
from tests.evaluation.russian_superglue import samples as superglue
from tests.finetuning import finetune_data

ROOT = Path(__file__).resolve().parents[2]
PREFIXES = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"}
_MORE = ("но никто не знает", "и это хорошо", "а слон спит", "хотя идёт дождь", "пока все дома", "потому что лето",
         "и поёт", "но тихо")  # fmt: skip
ENCODERS = ("MODEL", "STUDENT", "TEACHER", "my-student", "student", "small", "e5-ru", "e5-ru-4", "out/small-ru")


def lay(folder: Path) -> Path:
    """Lay out a desk in `folder`: `desk` with the files, `cache` for $SLONIK_CACHE; returns `folder`."""
    desk = folder / "desk"
    _models(desk, folder / "cache")
    _corpora(desk)
    _data(desk)
    _recipes(desk)
    return folder


def _models(desk: Path, cache: Path) -> None:
    for name, module in CHECKPOINTS.items():
        made = cache / "embedded" / f"{name}-{module.PACKAGE}-{module.package_version()}-v{module.FORMAT}"
        _sentence_encoder(made, layers=7)
    for name in ENCODERS:
        _sentence_encoder(desk / name, layers=2)
    for name in ("my-bert", "BERT"):
        _masked_model(desk / name)
    for name, family in (("my-gpt2", "gpt2"), ("my-t5", "t5"), ("T5", "t5"), ("my-fred-t5", "t5")):
        shutil.copytree(finetune_data.writing_model(desk / "made", family), desk / name)
    shutil.rmtree(desk / "made")


def _sentence_encoder(folder: Path, *, layers: int) -> None:
    tiny.checkpoint(folder, "xlm-roberta", layers=layers)
    (folder / "config_sentence_transformers.json").write_text(json.dumps(PREFIXES), encoding="utf-8")


def _masked_model(folder: Path) -> None:
    """A BERT with its head, four layers."""
    import torch
    from transformers import AutoModelForMaskedLM

    tiny.checkpoint(folder, "bert", layers=4, sentence=False)
    vocab = tiny.tokenizer("wordpiece").get_vocab_size()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForMaskedLM.from_config(tiny.config("bert", layers=4, vocab_size=vocab)).save_pretrained(folder)


def _corpora(desk: Path) -> None:
    english = [*tiny.PAIRS, *toy_corpus.pairs()]
    russian = [*tiny.TEXTS, *(f"{text}, {more}." for _, text in toy_corpus.pairs() for more in _MORE)]
    lines = "".join(f"{text}\n" for text in russian)
    for name in ("ru.txt", "ru_text.txt", "domain.txt", "texts.txt", "infosec_ru.txt", "security.txt", "news.txt"):
        (desk / name).write_text(lines, encoding="utf-8")
        with gzip.open(desk / f"{name}.gz", "wt", encoding="utf-8") as stream:
            stream.write(lines)
    table = "".join(f"{left}\t{right}\n" for left, right in english)
    (desk / "en_ru.tsv").write_text(table, encoding="utf-8")
    with gzip.open(desk / "en_ru.tsv.gz", "wt", encoding="utf-8") as stream:
        stream.write(table)
    _lines(desk / "news.jsonl", [{"text": text, "summary": text.split()[0]} for text in russian[:60]])
    _lines(desk / "prompts.jsonl", [{"prompt": "Слон"}, {"prompt": "Утром"}])
    (desk / "news").mkdir()
    shutil.copy(desk / "news.jsonl", desk / "news" / "news.jsonl")


def _data(desk: Path) -> None:
    encodechka.write_data(desk / "data")
    superglue.write_data(desk / "data")
    _probing(desk / "data" / "rusenteval" / "gapping.txt")
    for name in ("brat", "seccoll", "other-texts", "data/seccoll"):
        _brat(desk / name)
    os.symlink("data", desk / "DATA")
    rows = [{"text": f"{text} {mark}", "mark": mark} for text, mark in _marked(60)]
    _table(desk / "reviews.csv", rows)
    _lines(desk / "reviews.jsonl", rows)
    _lines(desk / "pairs.jsonl", [{"a": row["text"], "b": row["mark"], "label": row["mark"]} for row in rows])
    _lines(desk / "new.jsonl", [{"text": row["text"]} for row in rows[:5]])
    (desk / "squad.json").write_text(json.dumps(_squad(), ensure_ascii=False), encoding="utf-8")
    test = desk / "data" / "russian_superglue" / "TERRa" / "test.jsonl"
    for name in ("test.jsonl", "rows.jsonl", "terra.jsonl"):
        (desk / name).write_text(test.read_text(encoding="utf-8-sig"), encoding="utf-8")


def _marked(count: int) -> Iterable[tuple[str, str]]:
    for number in range(count):
        yield f"{tiny.TEXTS[number % 40]} {number}", ("хорошо", "плохо")[number % 2]


def _probing(path: Path) -> None:
    path.parent.mkdir(parents=True)
    rows = []
    for number in range(120):
        label = number % 2
        text = f"{tiny.TEXTS[number % 40][:25]} {number}{' !' if label else ' .'}"
        rows.append(f"{('tr', 'tr', 'tr', 'va', 'te')[number % 5]}\t{label}\t{text}")
    path.write_text("\n".join(rows), encoding="utf-8")


def _brat(folder: Path) -> None:
    """Forty texts with a virus, a company and a town each."""
    folder.mkdir(parents=True)
    for number in range(40):
        words = (f"Petya{number % 7}", ("Cisco", "Яндекс")[number % 2], ("Туле", "Москве", "Перми")[number % 3])
        text = "Вирус {} заразил серверы компании {} в {}.".format(*words)
        labels = zip(("VIRUS", "ORG", "LOC"), words, strict=True)
        spans = [
            f"T{place}\t{label} {text.index(word)} {text.index(word) + len(word)}\t{word}\n"
            for place, (label, word) in enumerate(labels, start=1)
        ]
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
        (folder / f"{number}.ann").write_text("".join(spans), encoding="utf-8")


def _squad() -> dict[str, Any]:
    entries = []
    for number, text in enumerate(tiny.TEXTS[:30]):
        word = text.split()[0]
        answer = {"text": word, "answer_start": 0}
        entry = {"id": str(number), "question": "Какое слово первое?", "answers": [answer]}
        entries.append({"title": str(number), "paragraphs": [{"context": text, "qas": [entry]}]})
    return {"version": "1.1", "data": entries}


def _recipes(desk: Path) -> None:
    """The recipes of the project under their names, with sizes and steps cut down to seconds."""
    shutil.copytree(ROOT / "recipes", desk / "recipes")
    shutil.copytree(ROOT / "runs", desk / "runs")
    for path in (desk / "recipes" / "pretrain").glob("*_tiny.yaml"):
        _change(path, {"tokenizer.vocab_size": 300, "train.max_steps": 4, "train.evaluate_every_steps": 2,
                       "batch_tokens": 512, "model.hidden": 32, "length": 32, "model.max_length": 32})  # fmt: skip
    _change(desk / "recipes" / "e5_six_layers.yaml", {
        "corpus.train_texts": 100, "corpus.train_pairs": 40, "corpus.near_pairs": 0, "corpus.substituted_texts": 0,
        "prune.keep_layers": [1, 3, 5], "distill.max_minutes": 0.05,
    })  # fmt: skip


def _change(path: Path, fields: Mapping[str, Any]) -> None:
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in fields.items():
        *parents, last = name.split(".")
        place = recipe
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    text = "\n".join([",".join(names), *(",".join(f'"{row[name]}"' for name in names) for row in rows)])
    path.write_text(text + "\n", encoding="utf-8")
