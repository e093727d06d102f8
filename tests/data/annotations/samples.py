"""Small annotated texts for the tests: every awkward character, and every kind of BRAT line."""

from __future__ import annotations

from pathlib import Path

# CR LF, a no-break space, a stress accent, an emoji outside the first plane, nested quotes, a flag.
AWKWARD = (
    "«Лаборатория Касперского» 🔒 сообщила:\r\nгруппа\u00a0Turla атакова\u0301ла сервер „Заря“ в Туле 🇷🇺.\r\n"
    "Wi-Fi-роутеры DIR-300 и Windows 7Microsoft Office — под угрозой."
)

# Fragments, nesting, overlap, relation, event, attribute, modification, normalisation, notes, equivalence.
BRAT_TEXT = "Вирусы Petya и NotPetya заразили компьютеры Банка России в Москве."
BRAT_ANN = (
    "T1\tVIRUS 7 12\tPetya\n"
    "T2\tVIRUS 0 6;15 23\tВирусы NotPetya\n"
    "T3\tORG 44 56\tБанка России\n"
    "T4\tLOC 50 56\tРоссии\n"
    "T5\tLOC 59 65\tМоскве\n"
    "T6\tAttack 24 32\tзаразили\n"
    "E1\tAttack:T6 Agent:T1 Target:T3\n"
    "R1\tLocated Arg1:T3 Arg2:T5\n"
    "A1\tNegation E1\n"
    "M1\tSpeculation E1\n"
    "N1\tReference T3 Wikidata:Q1065\tБанк России\n"
    "#1\tAnnotatorNotes T4\tвложено в T3\n"
    "*\tEquiv T1 T2\n"
)


def write_pair(folder: Path, name: str, text: str, ann: str) -> None:
    """A .txt and an .ann, byte for byte."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{path}.txt").write_bytes(text.encode())
    Path(f"{path}.ann").write_bytes(ann.encode())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its relative name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
