"""Small labelled files in Russian whose labels a tiny model can learn: written here, for tests only."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests import tiny

PLACES = ["дом", "сад", "лес", "мост", "порт", "парк", "цех", "зал", "клуб", "двор", "луг", "пруд"]
NAMES = ["Анна", "Борис", "Вера", "Глеб", "Дарья", "Егор", "Зоя", "Иван", "Клара", "Лев", "Мария", "Олег"]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def writing_model(folder: Path, family: str) -> Path:
    """A tiny T5 or decoder with its language-model head, in `folder/FAMILY`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    place = tiny.checkpoint(folder / family, family)
    vocab = tiny.tokenizer(tiny.TOKENIZER_OF[family]).get_vocab_size()
    cls: Any = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        cls.from_config(tiny.config(family, vocab_size=vocab)).save_pretrained(place)
    return place


def terra(folder: Path, count: int = 48) -> Path:
    """TERRa train and test: a hypothesis follows when it ends with the word "точно"."""
    rng = random.Random(3)
    rows = []
    for number in range(count):
        name, place = rng.choice(NAMES), rng.choice(PLACES)
        right = number % 2 == 0
        hypothesis = f"{name} идёт в {place} {'точно' if right else 'никогда'}."
        label = "entailment" if right else "not_entailment"
        rows.append(
            {"premise": f"{number}. {name} идёт в {place}.", "hypothesis": hypothesis, "label": label, "idx": number}
        )
    write_lines(folder / "russian_superglue" / "TERRa" / "train.jsonl", rows)
    bare = [{key: value for key, value in row.items() if key != "label"} for row in rows[:6]]
    write_lines(folder / "russian_superglue" / "TERRa" / "test.jsonl", bare)
    return folder


def rwsd(folder: Path, count: int = 30) -> Path:
    """RWSD test items with human labels and no training file."""
    rows = []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        text = f"{number}. {name} взяла книгу, потому что она любит читать."
        target = {"span1_text": name, "span1_index": 1, "span2_text": "она", "span2_index": 6}
        rows.append({"text": text, "target": target, "label": number % 3 == 0, "idx": number})
    write_lines(folder / "russian_superglue" / "RWSD" / "val_crowd.jsonl", rows)
    return folder


MUSERC_ROW: dict[str, Any] = {
    "idx": 5,
    "passage": {
        "text": "(1) Вера купила хлеб. (2) Потом она пошла в парк.",
        "questions": [
            {
                "idx": 2,
                "question": "Что купила Вера?",
                "answers": [{"idx": 7, "text": "Хлеб", "label": 1}, {"idx": 8, "text": "Сыр", "label": 0}],
            },
            {"idx": 3, "question": "Куда она пошла?", "answers": [{"idx": 9, "text": "В парк", "label": 1}]},
        ],
    },
}
RUCOS_ROW: dict[str, Any] = {
    "idx": 4,
    "passage": {
        "text": "Сборная Италии приехала в Москву.\n@highlight\nВ Москве сыро.",
        "entities": [
            {"start": 0, "end": 14, "text": "Сборная Италии"},
            {"start": 26, "end": 32, "text": "Москву"},
        ],
    },
    "qas": [
        {
            "idx": 0,
            "query": "@placeholder играет завтра.",
            "answers": [{"start": 0, "end": 14, "text": "Сборная Италии"}],
        }
    ],
}
