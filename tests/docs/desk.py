"""A folder with the files that the pages name: tiny models, small corpora and data, recipes cut down to seconds.

The embedded models are tiny ones too: they lie in the cache folder, where `embedded:NAME` finds them made already, so
that a page runs in seconds as it is written. What a command makes on one page and another page reads, is here as well.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from slonik.exporting.package.distribution import model_folder, write_distribution
from slonik.exporting.package.licences import Origin
from slonik.models.embedded import CHECKPOINTS
from slonik.models.fresh import Shape, build
from slonik.models.names import DEFAULTS
from slonik.pretraining.tokenizer import Vocabulary
from slonik.runtime.static import StaticEncoder, quantised
from slonik.text.tokenizers.training import TrainConfig, train
from slonik.text.tokenizing import write_tokenizer
from tests import tiny
from tests.compression import toy_corpus
from tests.evaluation.encodechka import samples as encodechka
from tests.evaluation.russian_superglue import samples as superglue
from tests.finetuning import finetune_data

ROOT = Path(__file__).resolve().parents[2]
PREFIXES = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"}
_MORE = ("но никто не знает", "и это хорошо", "а слон спит", "хотя идёт дождь", "пока все дома", "потому что лето",
         "и поёт", "но тихо")  # fmt: skip
_TEXT_FILES = {
    "ru.txt": 1200, "ru_text.txt": 1200, "infosec_ru.txt": 300, "domain.txt": 300, "general.txt": 300, "texts.txt": 300,
    "pud.txt": 40, "news.txt": 40,
}  # fmt: skip
POSITIONS = 514
SHIPS = DEFAULTS[0]
ENCODERS = (
    "MODEL", "STUDENT", "TEACHER", "CHECKPOINT", "my-student", "small", "e5-ru", "my-tokenizer", "out/small-ru",
)  # fmt: skip


def lay(folder: Path) -> Path:
    """Lay out a desk in `folder`: `desk` with the files, `cache` for $SLONIK_CACHE, `ships` with the distribution of a
    tiny model; returns `folder`."""
    desk = folder / "desk"
    _ships(folder / "ships")
    _models(desk, folder / "cache")
    _corpora(desk)
    _data(desk)
    _recipes(desk)
    _submission(desk)
    return folder


def _ships(root: Path) -> None:
    """A static model under the name of the one that ships."""
    folder = model_folder(root, SHIPS)
    folder.mkdir(parents=True)
    tokenizer = tiny.tokenizer("unigram")
    rows = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16)).astype(np.float32)
    StaticEncoder(quantised(rows, "int8"), tokenizer).write(folder)
    origins = [Origin("MODEL", "MIT", "its authors")]
    write_distribution(root, SHIPS, "0.1.0", kind="static", origins=origins, facts={})


def _models(desk: Path, cache: Path) -> None:
    for name, module in CHECKPOINTS.items():
        made = cache / "embedded" / f"{name}-{module.PACKAGE}-{version(module.PACKAGE)}-v{module.FORMAT}"
        _encoder(made, layers=7)
    for name in ENCODERS:
        _encoder(desk / name)
    for name in ("my-bert", "BERT"):
        _model(desk / name, "bert", AutoModelForMaskedLM, layers=4)
    for name in ("my-gpt2", "gpt"):
        _model(desk / name, "gpt2", AutoModelForCausalLM)
    for name in ("my-t5", "T5"):
        _model(desk / name, "t5", AutoModelForSeq2SeqLM)
    _fred_t5(desk / "my-fred-t5")


def _encoder(folder: Path, *, layers: int = 2) -> None:
    """A sentence encoder with e5's prefixes."""
    _model(folder, "xlm-roberta", AutoModel, layers=layers)
    _change(folder / "sentence_bert_config.json", {"max_seq_length": 128})
    (folder / "config_sentence_transformers.json").write_text(json.dumps(PREFIXES), encoding="utf-8")


def _model(folder: Path, family: str, cls: Any, **shape: int) -> None:
    """A random model with its head, and with room for more than the 64 tokens of other tests."""
    tiny.checkpoint(folder, family, sentence=cls is AutoModel)
    config = tiny.config(family, vocab_size=tiny.tokenizer(tiny.TOKENIZER_OF[family]).get_vocab_size(), **shape)
    for field in ("max_position_embeddings", "n_positions"):
        if field in config.to_dict():
            setattr(config, field, POSITIONS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cls.from_config(config).save_pretrained(folder)
    _change(folder / "tokenizer_config.json", {"model_max_length": 512})


def _fred_t5(folder: Path) -> None:
    """A fresh FRED-T5 whose tokenizer has its prefixes, and sentinels enough for inputs of 128 tokens."""
    trained = train(TrainConfig(kind="bpe", vocab_size=700, family="fred-t5", sentinels=100), tiny.TEXTS)
    names = trained.specials
    write_tokenizer(trained.tokenizer, folder, names=names.roles, types=names.type_ids, max_length=512)
    shape = Shape(family="fred-t5", layers=2, hidden=32, heads=2, ffn=64, max_length=512, dropout=0.1)
    build(shape, Vocabulary.open(folder).ids, seed=1).save_pretrained(folder)


def _corpora(desk: Path) -> None:
    english = [*tiny.PAIRS, *toy_corpus.pairs()]
    russian = [*tiny.TEXTS, *(f"{text}, {more}." for _, text in toy_corpus.pairs() for more in _MORE)]
    for name, count in _TEXT_FILES.items():
        lines = "".join(f"{text}\n" for text in russian[:count])
        (desk / name).write_text(lines, encoding="utf-8")
        with gzip.open(desk / f"{name}.gz", "wt", encoding="utf-8") as stream:
            stream.write(lines)
    table = "".join(f"{left}\t{right}\n" for left, right in english)
    (desk / "en_ru.tsv").write_text(table, encoding="utf-8")
    with gzip.open(desk / "en_ru.tsv.gz", "wt", encoding="utf-8") as stream:
        stream.write(table)
    _lines(desk / "news.jsonl", [{"text": text} for text in russian[:300]])
    _lines(desk / "more.jsonl", [{"id": number, "text": text} for number, text in enumerate(russian[:5])])
    _lines(desk / "summaries.jsonl", [{"text": text, "summary": text.split()[0]} for text in russian[:40]])
    _lines(desk / "prompts.jsonl", [{"prompt": "Слон"}, {"prompt": "Утром"}])
    for name in ("ru_syntagrus-ud-train-a.conllu", "ru_taiga-ud-dev.conllu", "ru_pud-ud-test.conllu"):
        _treebank(desk / name, seed=len(name))


def _treebank(path: Path, *, seed: int) -> None:
    """Sentences "новый слон видел дом снова снова ..." with random number, tense and length."""
    draw, lines = random.Random(seed), []
    for number in range(400):
        tense, many = draw.choice(("Past", "Pres")), draw.choice(("Sing", "Plur"))
        verb = f"Mood=Ind|VerbForm=Fin|Tense={tense}|Aspect=Imp|Voice=Act"
        rows = [
            ("новый", "ADJ", "_", 2, "amod"),
            (f"слон{draw.randrange(40)}", "NOUN", f"Number={many}", 3, "nsubj"),
            (f"видит{draw.randrange(40)}", "VERB", verb, 0, "root"),
            (f"раз{seed}{number}", "ADV", "_", 3, "advmod"),
            *[("снова", "ADV", "_", 3, "advmod")] * draw.randrange(1, 12),
        ]
        lines += [
            f"{place}\t{form}\t{form}\t{part}\t_\t{feats}\t{head}\t{relation}\t_\t_"
            for place, (form, part, feats, head, relation) in enumerate(rows, start=1)
        ]
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _data(desk: Path) -> None:
    encodechka.write_data(desk / "data")
    superglue.write_data(desk / "data")
    (desk / "data" / "russian_superglue" / "TERRa" / "val.jsonl").unlink()
    finetune_data.terra(desk / "data")
    _probing(desk / "data" / "rusenteval" / "gapping.txt")
    for name in ("brat", "brat-folder", "seccoll", "other-texts", "data/seccoll"):
        _brat(desk / name)
    (desk / "DATA").symlink_to("data")
    _retrieval(desk)
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
    shutil.copytree(ROOT / "runs", desk / "runs", ignore=shutil.ignore_patterns("*.jsonl"))
    for path in (desk / "recipes" / "pretrain").glob("*_tiny.yaml"):
        _change(path, {"corpus.border": 4, "corpus.held_out_share": 0.1, "tokenizer.vocab_size": 300, "length": 32,
                       "model.max_length": 32, "model.hidden": 32, "batch_tokens": 512, "train.max_steps": 4,
                       "train.evaluate_every_steps": 2})  # fmt: skip
    _change(desk / "recipes" / "e5_six_layers.yaml", {
        "corpus.train_texts": 100, "corpus.train_pairs": 40, "corpus.near_pairs": 0, "corpus.substituted_texts": 0,
        "prune.keep_layers": [1, 3, 5], "distill.max_minutes": 0.05, "stages": "none",
    })  # fmt: skip
    _change(desk / "recipes" / "repetition_tiny.yaml", {
        "corpus.border": 4, "corpus.held_out_share": 0.1, "vocab_size": 400, "parts": [1, 2], "seeds": [0], "steps": 10,
        "schedule": {"part": 2, "switch": 0.5}, "batch_tokens": 256, "length": 32, "evaluations": 2,
        "shape": {"layers": 1, "hidden": 32, "heads": 2, "ffn": 64}, "measured_sequences": 8,
    })  # fmt: skip
    for name in ("e5-infosec", "e5-infosec-long"):
        _change(desk / "runs" / name / "recipe.yaml", {"apart": [], "measured_documents": 40, "train.max_steps": 2})
    _change(desk / "runs" / "bert-infosec" / "recipe.yaml", {
        "apart": [], "measured_documents": 40, "train.max_steps": 2, "max_length": 32,
    })  # fmt: skip


def _submission(desk: Path) -> None:
    """What a third party hands in: a figure on the items of one of ours."""
    records = json.loads((desk / "runs" / "slonik-mini-ru" / "records.json").read_text(encoding="utf-8"))
    hashes = next(one for one in records if one["task"] == "sts" and one["variant"] == "compatible")["hashes"]
    head = "model;suite;variant;task;metric;value;low;high;n;data;protocol"
    row = f"their-model;encodechka;compatible;sts;spearman;0,80;0,79;0,81;1500;{hashes['data']};{hashes['protocol']}"
    (desk / "theirs.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")


def _change(path: Path, fields: Mapping[str, Any]) -> None:
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in fields.items():
        *parents, last = name.split(".")
        place = recipe
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    text = json.dumps(recipe) if path.suffix == ".json" else yaml.safe_dump(recipe, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    text = "\n".join([",".join(names), *(",".join(f'"{row[name]}"' for name in names) for row in rows)])
    path.write_text(text + "\n", encoding="utf-8")


def _retrieval(desk: Path) -> None:
    """A set in the form of BEIR, and questions with their answers."""
    texts = tiny.TEXTS[:40]
    asked = [f"{' '.join(text.split()[:3])} {number}" for number, text in enumerate(texts)]
    (desk / "news-set" / "qrels").mkdir(parents=True)
    _lines(desk / "news-set" / "corpus.jsonl", [{"_id": f"d{n}", "text": text} for n, text in enumerate(texts)])
    _lines(desk / "news-set" / "queries.jsonl", [{"_id": f"q{n}", "text": text} for n, text in enumerate(asked)])
    rows = "".join(f"q{number}\td{number}\t1\n" for number in range(len(texts)))
    (desk / "news-set" / "qrels" / "test.tsv").write_text(rows, encoding="utf-8")
    _lines(
        desk / "questions.jsonl",
        [{"query": q, "document": text, "label": 1} for q, text in zip(asked, texts, strict=True)],
    )
