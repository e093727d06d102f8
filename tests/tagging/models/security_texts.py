"""Small annotated texts about security, made by rule, with names that the test texts share only in part."""

from __future__ import annotations

import random

from slonik.data.annotations.document import Document, Span

_ORGS = ["Касперский", "Ростелеком", "Сбербанк", "Microsoft", "Cisco", "Яндекс", "Adobe", "Oracle"]
_PROGRAMS = ["Windows 7", "Android", "Flash Player", "Office 365", "Linux", "Java"]
_PLACES = ["Москве", "Туле", "Казани", "Берлине", "Омске", "Перми"]
_VIRUSES = ["Petya", "WannaCry", "Carbanak", "Stuxnet"]
_PATTERNS = [
    "Компания {ORG} закрыла уязвимость в {PROGRAM}.",
    "Вирус {VIRUS} заразил серверы «{ORG}» в {LOC}.",
    "По данным {ORG}, троян {VIRUS} работает под {PROGRAM}.",
    "Конференция прошла в {LOC}, её открыл представитель {ORG}.",
    "Никто не пострадал, сообщили вчера в редакцию.",
]
_NAMES = {"ORG": _ORGS, "PROGRAM": _PROGRAMS, "LOC": _PLACES, "VIRUS": _VIRUSES}


def documents(count: int, seed: int = 0) -> list[Document]:
    """Documents of four sentences each."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        text, spans = "", []
        for _ in range(4):
            pattern = rng.choice(_PATTERNS)
            while "{" in pattern:
                before, _, rest = pattern.partition("{")
                label, _, pattern = rest.partition("}")
                text += before
                name = rng.choice(_NAMES[label])
                spans.append(Span(len(text), len(text) + len(name), label))
                text += name
            text += pattern + rng.choice([" ", "\n", "\r\n"])
        made.append(Document(f"text{number}", text, tuple(spans)))
    return made
