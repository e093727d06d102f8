"""A small encodechka written by us: every file in its published form, with known answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

TOPICS = ("погода", "музыка", "будильник", "новости")
_ENGLISH = {"погода": "weather", "музыка": "music", "будильник": "alarm", "новости": "news"}
_ENDINGS = ("сегодня", "завтра", "вечером", "утром", "дома", "на работе", "в городе", "для меня")


def write_data(folder: Path, *, leave_out: tuple[str, ...] = ()) -> Path:
    """Write all fourteen files into `folder / "encodechka"`, except `leave_out`; returns `folder`."""
    root = folder / "encodechka"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, rows in _tables(rng).items():
        if name not in leave_out:
            with open(root / name, "w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerows(rows)
    for name in ("factru.json", "rudrec.json"):
        if name not in leave_out:
            (root / name).write_text(json.dumps(_documents(rng), ensure_ascii=False), encoding="utf-8")
    if "sentences_sample.txt" not in leave_out:
        (root / "sentences_sample.txt").write_text("\n".join(_text(rng, topic) for topic in TOPICS) + "\n")
    return folder


def _text(rng: np.random.Generator, topic: str) -> str:
    return f"{topic} {rng.choice(_ENDINGS)} {rng.choice(_ENDINGS)} {rng.integers(1, 99)}"


def _tables(rng: np.random.Generator) -> dict[str, list[list[object]]]:
    pairs = []
    for _ in range(60):
        first, second = rng.choice(TOPICS, size=2)
        pairs.append((_text(rng, first), _text(rng, second), first == second))
    tables: dict[str, list[list[object]]] = {
        "stsb_dev.csv": [
            ["sentence1", "sentence2", "similarity_score"],
            *([a, b, 4.5 if s else 0.5] for a, b, s in pairs),
        ],
        "para_gold.csv": [
            ["id", "id_1", "id_2", "text_1", "text_2", "class"],
            *([i, i, i, a, b, 1 if s else -1] for i, (a, b, s) in enumerate(pairs)),
        ],
        "xnli_ru.csv": [
            ["language", "gold_label", "sentence1", "sentence2"],
            *(["ru", "entailment" if s else "contradiction", a, b] for a, b, s in pairs),
        ],
    }
    for part in ("train", "test"):
        topics = [TOPICS[i % 4] for i in range(48)]
        texts = [_text(rng, topic) for topic in topics]
        tables[f"SentiRuEval2016_small_{part}.csv"] = [
            ["text", "answer", "company"],
            *([text, TOPICS.index(topic) % 3 - 1, "NA"] for text, topic in zip(texts, topics, strict=True)),
        ]
        tables[f"toxic_{part}.csv"] = [
            ["id", "text", "labels", "toxic"],
            *(
                [i, text, "x", int(topic == TOPICS[0])]
                for i, (text, topic) in enumerate(zip(texts, topics, strict=True))
            ),
        ]
        tables[f"inappropriate_{part}.csv"] = [
            ["text", "inappropriate", "y"],
            *([text, 0.3, int(topic == TOPICS[1])] for text, topic in zip(texts, topics, strict=True)),
        ]
        rows: list[list[object]] = [["answer", "text", "label"]]
        rows += [[f"{_ENGLISH[topic]} please", text, topic] for text, topic in zip(texts, topics, strict=True)]
        if part == "test":
            rows.append(
                ["NA", "рецепт null", "кухня"]
            )  # a class that training never saw, and texts that look like gaps
        tables[f"intents_{part}.csv"] = rows
    return tables


def _documents(rng: np.random.Generator) -> dict[str, list[object]]:
    texts, labels = [], []
    for _ in range(40):
        name = str(rng.choice(["Иван", "Анна", "Пётр"]))
        place = str(rng.choice(["Москве", "Перми"]))
        text = f"{name} {rng.choice(_ENDINGS)} живёт в {place}, и всё."
        start = text.index(place)
        texts.append(text)
        labels.append([["Person", 0, len(name)], ["Location", start, start + len(place)]])
    return {"texts": texts, "labels": labels}
