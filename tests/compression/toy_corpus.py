"""A corpus of a few hundred different Russian sentences and pairs, made by combination."""

from __future__ import annotations

import itertools
from pathlib import Path

_WHO = (("слон", "the elephant"), ("кот", "the cat"), ("мальчик", "the boy"), ("учитель", "the teacher"))
_DOES = (("видит", "sees"), ("рисует", "draws"), ("любит", "loves"), ("ищет", "looks for"), ("помнит", "remembers"))
_WHAT = (("дом", "the house"), ("реку", "the river"), ("книгу", "the book"), ("город", "the city"))
_WHERE = (("утром", "in the morning"), ("вечером", "in the evening"), ("в лесу", "in the forest"), ("дома", "at home"))


def pairs() -> list[tuple[str, str]]:
    """320 (English, Russian) pairs."""
    found = []
    for parts in itertools.product(_WHO, _DOES, _WHAT, _WHERE):
        found.append((" ".join(part[1] for part in parts), " ".join(part[0] for part in parts)))
    return found


def write(folder: Path) -> tuple[Path, Path]:
    """Write texts and pairs; the two files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts, table = folder / "ru.txt", folder / "pairs.tsv"
    texts.write_text("".join(f"{russian}\n" for _, russian in pairs()), encoding="utf-8")
    table.write_text("".join(f"{english}\t{russian}\n" for english, russian in pairs()), encoding="utf-8")
    return texts, table
