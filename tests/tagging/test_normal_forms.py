"""Names in the nominative: what is inflected, what stays, and how it is written."""

from __future__ import annotations

import pytest

from slonik.tagging.normal_forms import normal_form


@pytest.mark.parametrize(
    ("name", "label", "form"),
    [
        ("Лаборатории Касперского", "ORG", "Лаборатория Касперского"),
        ("«Лаборатории Касперского»", "ORG", "«Лаборатория Касперского»"),
        ("Федеральной службы безопасности", "ORG", "Федеральная служба безопасности"),
        ("Вооружённых сил РФ", "ORG", "Вооружённые силы РФ"),
        ("группировки «Тихий Ворон»", "HACKER_GROUP", "группировка «Тихий Ворон»"),
        ("трояна Petya", "VIRUS", "троян Petya"),
        ("СБЕРБАНКА", "ORG", "СБЕРБАНК"),
        ("Нижнем Новгороде", "LOC", "Нижний Новгород"),
        ("Ростове-на-Дону", "LOC", "Ростов-на-Дону"),
        ("Южной Корее", "LOC", "Южная Корея"),
        ("Евгения Касперского", "PER", "Евгений Касперский"),
        ("Наталье Касперской", "PER", "Наталья Касперская"),
        ("Владимиром Владимировичем Путиным", "PERSON", "Владимир Владимирович Путин"),
        ("А. С. Пушкина", "PER", "А. С. Пушкин"),
        ("Windows 7", "PROGRAM", "Windows 7"),
        ("США", "LOC", "США"),
        ("Москва", "LOC", "Москва"),
        ("", "", ""),
    ],
)
def test_names_in_the_nominative(name: str, label: str, form: str) -> None:
    assert normal_form(name, label) == form
    assert normal_form(form, label) == form
