"""A tiny word table, tiny taggers and a few annotated sentences, written for these tests."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from slonik import models
from slonik.data.annotations.document import Document, Span
from slonik.models.task_model import new_task_model
from slonik.runtime.tagging.labels import BioLabels
from slonik.runtime.tagging.names import NameList
from slonik.tagging.models.bilstm import BiLstmConfig, new_bilstm
from slonik.tagging.models.encoder_tagger import encoder_tagger
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.word_features import WordFeatures, WordTable, frequent_characters, frequent_words
from slonik.text.task_config import TaskConfig
from tests.tiny.models import checkpoint

MARKED = [
    "Группа {HACKER:Тихий Ворон} заразила серверы банка «{ORG:Северный}» в городе {LOC:Тверь}.",
    "Вирус {VIRUS:BlackMoth-7} крадёт пароли, сообщает {ORG:Лаборатория Иванова}.",
    "{PER:Анна Смирнова} из {ORG:Лаборатория Иванова} изучила {VIRUS:BlackMoth-7}.",
    "В {LOC:Казань} задержан хакер {HACKER:Тихий Ворон}, пишет {PER:Пётр Ким}.",
    "Обновление закрыло уязвимость, новых атак в {LOC:Тверь} нет.",
    "Компания {ORG:Северный} наняла {PER:Анна Смирнова}, чтобы найти {HACKER:Тихий Ворон}.",
    "Сегодня ничего не произошло.",
    "{VIRUS:Ржавчина} и {VIRUS:BlackMoth-7} похожи, считает {PER:Пётр Ким} из города {LOC:Казань}.",
]
LABELS = BioLabels(("HACKER", "LOC", "ORG", "PER", "VIRUS"))
_MARK = re.compile(r"\{(\w+):([^}]*)\}")


def document(marked: str, name: str) -> Document:
    """A document from a text with {LABEL:words} marks."""
    text, spans, at = "", [], 0
    for match in _MARK.finditer(marked):
        text += marked[at : match.start()]
        spans.append(Span(len(text), len(text) + len(match[2]), match[1]))
        text += match[2]
        at = match.end()
    return Document(name, text + marked[at:], tuple(spans))


def documents() -> list[Document]:
    """The eight sentences above."""
    return [document(marked, f"текст{number}") for number, marked in enumerate(MARKED)]


def table(dimension: int = 12, parts: int = 4, codes: int = 16) -> WordTable:
    """Random vectors of the words of the sentences, without the rarest."""
    rng = np.random.default_rng(0)
    words = sorted(frequent_words([one.text for one in documents()], 2))
    values = rng.standard_normal((parts, codes, dimension // parts)).astype(np.float32)
    return WordTable(words, values, rng.integers(0, codes, (len(words), parts)).astype(np.uint8))


def bilstm(
    *,
    crf: bool = False,
    seed: int = 0,
    window: int = 16,
    overlap: int = 6,
    names: NameList | None = None,
    **sizes: object,
) -> NeuralTagger:
    """An untrained tiny BiLSTM tagger."""
    texts = [one.text for one in documents()]
    features = WordFeatures(
        table(), frequent_words(texts, 2), frequent_characters(texts, 1), window=window, overlap=overlap, names=names
    )
    given = {"hidden": 12, "character_features": 8, "learnt_words": 6, "dropout": 0.0, "word_dropout": 0.0}
    given |= {"window": window, "overlap": overlap, "names": names is not None, **sizes}
    return new_bilstm(LABELS, BiLstmConfig(crf=crf, **given), features, seed=seed)  # type: ignore[arg-type]


def encoder(
    folder: Path,
    *,
    family: str = "bert",
    crf: bool = False,
    max_length: int = 24,
    layers: int = 0,
    names: NameList | None = None,
) -> NeuralTagger:
    """An untrained tagger over a tiny encoder, whose checkpoint is written to `folder`."""
    config = TaskConfig(
        kind="tokens", task="ner", target="tags", labels=LABELS.names, max_length=max_length, details={"overlap": 8},
        head={"crf": crf, "layers": layers, "names": names is not None},
    )  # fmt: skip
    return encoder_tagger(new_task_model(models.load(checkpoint(folder, family)), config), "tiny", names=names)
