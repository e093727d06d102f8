"""The first half minute with the model that ships: English sentences find their Russian translations, without torch.

The texts are our own; among the Russian ones there are some that only look like the answer. No benchmark: it shows what
vectors are for, and that everything works (`slonik.evaluation.character` measures).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slonik.core.run import Result
from slonik.evaluation.character import nearest
from slonik.models.distributions import default_name
from slonik.models.opening import open_encoder
from slonik.reporting.table import Cell, Content, Table

PAIRS: tuple[tuple[str, str], ...] = (
    ("The train to Moscow leaves at seven in the morning.", "Поезд в Москву отходит в семь утра."),
    ("She forgot her umbrella and came home wet.", "Она забыла зонт и пришла домой мокрая."),
    ("The museum is closed on Mondays.", "По понедельникам музей закрыт."),
    ("The price of bread has doubled this year.", "За этот год хлеб подорожал вдвое."),
    ("Save the file before you close the program.", "Сохраните файл, прежде чем закрыть программу."),
    ("Scientists have found water on the Moon.", "Учёные нашли воду на Луне."),
    ("My brother plays the violin in an orchestra.", "Мой брат играет на скрипке в оркестре."),
    ("The elephant walks home along the river.", "Слон идёт домой вдоль реки."),
)
OTHERS: tuple[str, ...] = (
    "Поезд из Москвы приходит в семь вечера.",
    "Она нашла зонт и осталась дома.",
    "По понедельникам музей открыт до девяти.",
    "За этот год хлеб подешевел вдвое.",
    "Закройте программу, не сохраняя файл.",
    "Учёные не нашли воды на Марсе.",
    "Моя сестра поёт в хоре.",
    "Слон пьёт воду из реки.",
)
"""Near the answers, and not what was said."""


@dataclass(frozen=True, kw_only=True)
class FirstLook(Result):
    """What the model found.

    Attributes:
        model: its name.
        dimension: of its vectors.
        found: for each text the answer that is nearest, whether it is right, and the cosines of it and of the next.
        load_seconds, encode_seconds: opening the model; encoding all texts and answers.
        torch: whether torch was needed.
    """

    model: str
    dimension: int
    found: tuple[tuple[str, str, bool, float, float], ...]
    load_seconds: float
    encode_seconds: float
    torch: bool

    @property
    def right(self) -> int:
        """How many of the texts found their translation."""
        return sum(correct for _, _, correct, _, _ in self.found)

    def table(self) -> Table:
        """A row per text."""
        rows: list[Sequence[Content]] = [
            (text, Cell(answer, mark="" if correct else "worse"), f"{first:.2f}", f"{second:.2f}")
            for text, answer, correct, first, second in self.found
        ]
        return Table.of(f"{self.model}: the nearest of {len(PAIRS) + len(OTHERS)} Russian sentences",
                        ("text", "nearest", "cosine", "the next"), rows)  # fmt: skip

    def sentence(self) -> str:
        """What was found, and how long it took."""
        count = len(PAIRS) * 2 + len(OTHERS)
        how = "with torch" if self.torch else "without torch"
        return (
            f"{self.right} of {len(self.found)} translations found; opened in {self.load_seconds:.2f} s, {count} texts "
            f"in {self.encode_seconds * 1000:.0f} ms, {how}"
        )


def first_look(model: str | Path | None = None) -> FirstLook:
    """Let the model find translations.

    Args:
        model: an encoder; None = the one that ships.

    Raises:
        SlonikError: none that ships is installed, or there is no such model.
    """
    started = time.perf_counter()
    encoder = open_encoder(default_name() if model is None else model)
    loaded = time.perf_counter()
    texts, answers = [text for text, _ in PAIRS], [*(answer for _, answer in PAIRS), *OTHERS]
    places, cosines = nearest(encoder, texts, answers)
    ended = time.perf_counter()
    found = []
    for number, (text, place) in enumerate(zip(texts, places, strict=True)):
        second, first = sorted(cosines[number])[-2:]
        found.append((text, answers[place], place == number, float(first), float(second)))
    return FirstLook(
        model=encoder.name, dimension=encoder.dimension, found=tuple(found), load_seconds=loaded - started,
        encode_seconds=ended - loaded, torch="torch" in sys.modules, seconds=ended - started,
    )  # fmt: skip
