"""Small samples of the nine tasks in the official format, written for these tests; nothing comes from the benchmark.

`write_data` lays them out as the site's archives do: MuSeRC, RuCoS and DaNetQA whole in miniature, the other tasks
with a handful of rows each, some files with a byte order mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.evaluation.russian_superglue.reading_samples import DANETQA, MUSERC, RUCOS, Row

_PAIRS = (
    ("Поезд отправился в полночь и прибыл утром.", "Поезд прибыл утром.", True),
    ("Дети слепили во дворе снеговика.", "Дети играли в шахматы.", False),
    ("В библиотеке открылся новый читальный зал.", "В библиотеке есть новый зал.", True),
    ("Врач посоветовал больному чаще гулять.", "Врач запретил больному выходить из дома.", False),
    ("Рыбаки вернулись с богатым уловом.", "Рыбаки поймали много рыбы.", True),
    ("Художник продал две картины на ярмарке.", "Художник ничего не продал.", False),
    ("После дождя дорогу размыло, и автобус опоздал.", "Автобус опоздал.", True),
    ("Бабушка связала внуку тёплый свитер.", "Внук связал бабушке шарф.", False),
    ("Учёные описали новый вид бабочек.", "Учёные нашли новый вид насекомых.", True),
    ("Магазин закрыли на ремонт до понедельника.", "Магазин работает без выходных.", False),
    ("Оркестр исполнил симфонию дважды.", "Оркестр исполнил симфонию.", True),
    ("Кошка спала на подоконнике.", "Кошка гуляла по крыше.", False),
)
_ENTAILMENT = ("not_entailment", "entailment")
TERRA: tuple[Row, ...] = tuple(
    {"premise": first, "hypothesis": second, "label": _ENTAILMENT[follows], "idx": number}
    for number, (first, second, follows) in enumerate(_PAIRS)
)
RCB: tuple[Row, ...] = tuple(
    {
        "premise": premise, "hypothesis": hypothesis, "label": label, "verb": verb, "negation": "no_negation", "idx": i,
    }
    for i, (premise, hypothesis, verb, label) in enumerate(
        [
            ("Сторож признал, что забыл закрыть ворота.", "Сторож забыл закрыть ворота.", "признать", "entailment"),
            ("Ольга думает, что экзамен перенесли.", "Экзамен перенесли.", "думать", "neutral"),
            ("Неправда, что завод остановили.", "Завод остановили.", "остановить", "contradiction"),
            ("Сосед надеется, что весна будет ранней.", "Весна будет ранней.", "надеяться", "neutral"),
            ("Тренер знал, что команда устала.", "Команда устала.", "знать", "entailment"),
            ("Никто не поверил, что клад нашли.", "Клад нашли.", "поверить", "contradiction"),
            ("Мать говорит, что сын придёт к ужину.", "Сын придёт к ужину.", "говорить", "neutral"),
            ("Все заметили, что часы остановились.", "Часы остановились.", "заметить", "entailment"),
            ("Отец сомневается, что письмо дойдёт.", "Письмо дойдёт.", "сомневаться", "contradiction"),
            ("Гид уверяет, что замок построен за год.", "Замок построен за год.", "уверять", "neutral"),
            ("Юрист выяснил, что договор подписан.", "Договор подписан.", "выяснить", "entailment"),
            ("Дед забыл, что обещал прийти.", "Дед обещал прийти.", "забыть", "entailment"),
        ]
    )
)  # fmt: skip
PARUS: tuple[Row, ...] = tuple(
    {"premise": premise, "choice1": first, "choice2": second, "question": question, "label": label, "idx": number}
    for number, (premise, first, second, question, label) in enumerate(
        [
            ("Свеча погасла.", "Подул ветер.", "В комнате пахло воском.", "cause", 0),
            ("Мальчик уронил вазу.", "Ваза разбилась.", "Мальчик полил цветы.", "effect", 0),
            ("Дорога обледенела.", "Дети вышли загорать.", "Машину занесло.", "effect", 1),
            ("Собака залаяла.", "В дверь постучали.", "Собака съела обед.", "cause", 0),
            ("Студент проспал.", "Он опоздал на лекцию.", "Он сдал книгу.", "effect", 0),
            ("Молоко скисло.", "Его купили утром.", "Его оставили на солнце.", "cause", 1),
            ("Река вышла из берегов.", "Всю неделю шли дожди.", "Рыбаки починили лодку.", "cause", 0),
            ("Лампочка перегорела.", "На улице рассвело.", "В коридоре стало темно.", "effect", 1),
            ("Яблоки упали с ветки.", "Кто-то потряс дерево.", "Яблоки были зелёными.", "cause", 0),
            ("Певица охрипла.", "Зал был полон.", "Концерт отменили.", "effect", 1),
            ("Чайник закипел.", "Его поставили на плиту.", "Чай остыл.", "cause", 0),
            ("Отключили электричество.", "Холодильник потёк.", "Кот мурлыкал.", "effect", 0),
        ]
    )
)


def _word_row(number: int, word: str, first: tuple[str, str], second: tuple[str, str], label: bool) -> Row:
    marks = {}
    for name, (sentence, form) in (("1", first), ("2", second)):
        start = sentence.index(form)
        marks |= {f"sentence{name}": sentence, f"start{name}": start, f"end{name}": start + len(form)}
    return {"word": word, **marks, "label": label, "idx": number}


RUSSE: tuple[Row, ...] = tuple(
    _word_row(number, word, first, second, label)
    for number, (word, first, second, label) in enumerate(
        [
            ("лук", ("Он натянул лук и выстрелил.", "лук"), ("Лук висел на стене оружейной.", "Лук"), True),
            ("ключ", ("Из-под камня бил ключ.", "ключ"), ("Ключ от сейфа потеряли.", "Ключ"), False),
            ("коса", ("Коса доходила ей до пояса.", "Коса"), ("Девушка заплела косу.", "косу"), True),
            ("замок", ("Замок стоял на холме.", "Замок"), ("В двери сломался замок.", "замок"), False),
            ("мир", ("Страны заключили мир.", "мир"), ("После войны наступил мир.", "мир"), True),
            ("ручка", ("Ручка двери блестела.", "Ручка"), ("Ученик писал синей ручкой.", "ручкой"), False),
            ("лист", ("С клёна упал лист.", "лист"), ("Жёлтый лист кружился в воздухе.", "лист"), True),
            ("язык", ("Врач попросил показать язык.", "язык"), ("Он выучил финский язык.", "язык"), False),
            ("хвост", ("Лиса замела следы хвостом.", "хвостом"), ("Хвост у белки пушистый.", "Хвост"), True),
            ("вал", ("Город окружал земляной вал.", "вал"), ("Девятый вал накрыл лодку.", "вал"), False),
            ("гриф", ("Гриф парил над ущельем.", "Гриф"), ("Над скалой кружил гриф.", "гриф"), True),
            ("кран", ("Из крана капала вода.", "крана"), ("Кран поднял плиту.", "Кран"), False),
        ]
    )
)


def _schema(number: int, text: str, first: tuple[str, int], second: tuple[str, int], label: bool) -> Row:
    target = {"span1_text": first[0], "span1_index": first[1], "span2_text": second[0], "span2_index": second[1]}
    return {"text": text, "target": target, "label": label, "idx": number}


RWSD: tuple[Row, ...] = tuple(
    _schema(number, text, first, second, label)
    for number, (text, first, second, label) in enumerate(
        [
            ("Кубок не влез в чемодан, потому что он слишком большой.", ("Кубок", 0), ("он", 7), True),
            ("Кубок не влез в чемодан, потому что он слишком большой.", ("чемодан,", 4), ("он", 7), False),
            ("Катя поблагодарила Олю за помощь, которую она оказала.", ("Катя", 0), ("она", 6), False),
            ("Катя поблагодарила Олю за помощь, которую она оказала.", ("Олю", 2), ("она", 6), True),
            ("Отец не поднял сына, потому что тот тяжёлый.", ("Отец", 0), ("тот", 6), False),
            ("Отец не поднял сына, потому что тот тяжёлый.", ("сына,", 3), ("тот", 6), True),
            ("Полиция разогнала толпу, потому что она шумела.", ("толпу,", 2), ("она", 5), True),
            ("Полиция разогнала толпу, потому что она шумела.", ("Полиция", 0), ("она", 5), False),
            ("Волк не догнал зайца, хотя он хромал.", ("зайца,", 3), ("он", 5), True),
            ("Волк не догнал зайца, хотя он хромал.", ("Волк", 0), ("он", 5), False),
            ("Лодка обогнала плот, потому что он тяжёлый.", ("плот,", 2), ("он", 5), True),
            ("Лодка обогнала плот, потому что он тяжёлый.", ("Лодка", 0), ("он", 5), False),
        ]
    )
)
LIDIRUS: tuple[Row, ...] = tuple(
    {"sentence1": first, "sentence2": second, "label": _ENTAILMENT[follows], "idx": str(number), **marks}
    for number, (first, second, follows, marks) in enumerate(
        [
            ("Кот не спит.", "Кот бодрствует.", True, {"logic": "Negation", "knowledge": "Common sense"}),
            ("Кот не спит.", "Кот спит.", False, {"logic": "Negation"}),
            ("Все гости пришли.", "Некоторые гости пришли.", True, {"logic": "Universal;Existential"}),
            ("Некоторые гости пришли.", "Все гости пришли.", False, {"logic": "Existential;Universal"}),
            ("Дом построил мастер.", "Мастер построил дом.", True, {"predicate-argument-structure": "Core args"}),
            ("Маша видела Сашу.", "Саша видел Машу.", False, {"predicate-argument-structure": "Core args"}),
            ("Купили белого коня.", "Купили коня.", True, {"lexical-semantics": "Redundancy"}),
            ("Купили коня.", "Купили белого коня.", False, {"lexical-semantics": "Redundancy"}),
        ]
    )
)

ROWS: Mapping[str, tuple[Row, ...]] = {
    "RCB": RCB, "PARus": PARUS, "MuSeRC": MUSERC, "TERRa": TERRA, "RUSSE": RUSSE, "RWSD": RWSD, "DaNetQA": DANETQA,
    "RuCoS": RUCOS,
}  # fmt: skip


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], *, mark: bool = False) -> Path:
    """Write JSON Lines; with `mark`, in UTF-8 with a byte order mark, as some official files have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8-sig" if mark else "utf-8")
    return path


def unlabelled(row: Row) -> Row:
    """The row as a test set has it: without what would give the answer away."""
    copy = json.loads(json.dumps(row))
    copy.pop("label", None)
    if isinstance(copy.get("passage"), dict):
        for question in copy["passage"].get("questions", ()):
            for answer in question["answers"]:
                del answer["label"]
    for query in copy.get("qas", ()):
        query["answers"] = []
    return dict(copy)


def write_data(folder: Path, *, leave_out: Sequence[str] = (), tests: bool = True) -> Path:
    """Lay the samples out under `folder/russian_superglue`: half for training, a quarter each for val and test.

    Args:
        leave_out: files not to write, e.g. "TERRa/val.jsonl".
        tests: whether to write test sets (without labels) too.

    Returns:
        `folder`, to be given as --data-dir.
    """
    base = folder / "russian_superglue"
    for name, rows in ROWS.items():
        half, quarter = len(rows) // 2, len(rows) // 4
        splits = {"train": rows[:half], "val": rows[half : half + quarter]}
        if tests:
            splits["test"] = tuple(unlabelled(row) for row in rows[half + quarter :])
        for split, part in splits.items():
            if f"{name}/{split}.jsonl" not in leave_out:
                write_rows(base / name / f"{split}.jsonl", part, mark=name in ("MuSeRC", "TERRa"))
    if "LiDiRus/LiDiRus.jsonl" not in leave_out:
        write_rows(base / "LiDiRus" / "LiDiRus.jsonl", LIDIRUS)
    return folder
