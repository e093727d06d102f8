"""Splits keep groups whole and labels even; official rows become the right inputs; windows hold every answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.data.labelled import Question
from slonik.evaluation.russian_superglue.readers import parse_row
from slonik.evaluation.russian_superglue.tasks import TASKS
from slonik.evaluation.statistics import value_of
from slonik.finetuning.items import Item, drawn, labelled_fields, split_items
from slonik.finetuning.metrics import metrics_of
from slonik.finetuning.prompts import ask, with_shots
from slonik.finetuning.spans import answer_scores, best_answers, question_items
from slonik.finetuning.tasks import SHAPES, answers_of, items_of, task_config, word_span
from slonik.text.answer_spans import context_windows
from slonik.text.pairs import PairTokenizer, TaskInput
from tests import tiny
from tests.finetuning.finetune_data import MUSERC_ROW, NAMES, RUCOS_ROW

TERRA_ROW = {"premise": "Снег растаял.", "hypothesis": "Снега нет.", "label": "entailment", "idx": 3}
ROWS = {
    "terra": TERRA_ROW,
    "rcb": {**TERRA_ROW, "label": "neutral"},
    "lidirus": {"sentence1": "Снег растаял.", "sentence2": "Снега нет.", "label": "entailment", "idx": 3},
    "parus": {
        "premise": "Лёд растаял.", "choice1": "Стало тепло.", "choice2": "Пошёл снег.", "question": "cause",
        "label": 0, "idx": 1,
    },
    "muserc": MUSERC_ROW,
    "russe": {
        "word": "ключ", "sentence1": "Ключ в замке.", "sentence2": "Бьёт ключ.", "start1": 0, "end1": 4, "start2": 5,
        "end2": 9, "label": False, "idx": 0,
    },
    "rwsd": {
        "text": "Анна взяла книгу, ведь она её любит.", "label": True, "idx": 2,
        "target": {"span1_text": "Анна", "span1_index": 0, "span2_text": "она", "span2_index": 4},
    },
    "danetqa": {"question": "Вода мокрая?", "passage": "Вода мокрая.", "label": True, "idx": 0},
    "rucos": RUCOS_ROW,
}  # fmt: skip


def test_groups_stay_whole_and_labels_even() -> None:
    rng = np.random.default_rng(0)
    items = [Item(n, TaskInput((("а",),)), int(n % 3 == 0), f"g{rng.integers(60)}") for n in range(300)]
    parts = split_items(items, [0.2, 0.1, 0.7], 7)
    assert sorted(np.concatenate(parts).tolist()) == list(range(300))
    groups = [{items[n].group for n in part} for part in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    for part, share in zip(parts, (0.2, 0.1, 0.7), strict=True):
        assert abs(len(part) - 300 * share) <= 12
        assert abs(np.mean([items[n].label for n in part]) - 1 / 3) < 0.1
    assert [p.tolist() for p in parts] == [p.tolist() for p in split_items(items, [0.2, 0.1, 0.7], 7)]
    assert [p.tolist() for p in parts] != [p.tolist() for p in split_items(items, [0.2, 0.1, 0.7], 8)]
    assert drawn(parts[2], 5, 1).tolist() == sorted(drawn(parts[2], 5, 1).tolist())


@pytest.mark.parametrize("task", TASKS)
def test_every_task_becomes_an_input_with_its_label_and_an_answer_again(task: str) -> None:
    examples = parse_row(TASKS[task], dict(ROWS[task]), "here")
    config = task_config(task)
    items = items_of(task, examples, config.pairs)
    assert [item.key for item in items] == [example.idx for example in examples]
    fields = labelled_fields(items, PairTokenizer(tiny.tokenizer("unigram"), config.max_length), config.target)
    for example, item, one in zip(examples, items, fields, strict=True):
        right = np.zeros(max(len(config.labels), np.size(item.label)), dtype=np.float32)
        if SHAPES[task].target == "choice":
            right[int(np.argmax(item.label))] = 1
            assert one["label"].tolist() == item.label
        else:
            right[item.label] = 1
        found = answers_of(task, [example], [right])[0]
        assert found.label == (example.answers[0] if task == "rucos" else example.label)
        assert sum(found.probabilities.values()) == pytest.approx(1)  # type: ignore[union-attr]


def test_cause_stands_before_effect() -> None:
    examples = [parse_row(TASKS["parus"], {**ROWS["parus"], "question": asked}, "")[0] for asked in ("cause", "effect")]
    cause, effect = (items_of("parus", [one], "joint")[0].input.rows[0] for one in examples)
    assert cause == ("Стало тепло.", "Лёд растаял.") and effect == ("Лёд растаял.", "Стало тепло.")


def test_a_span_is_found_by_its_word_number_even_if_it_is_off() -> None:
    text = "Мама мыла раму. Мама устала, и мама спит."
    for index, place in ((0, 0), (3, 16), (6, 31), (4, 16)):
        start, end = word_span(text, "Мама", index)
        assert (start, text[start:end].lower()) == (place, "мама")
    assert word_span(text, "нет такого", 1) == (5, 15)  # the two words from there on
    assert word_span("", "а", 3) == (0, 0)


def test_a_draw_of_candidates_keeps_the_right_ones() -> None:
    rows = tuple((f"текст {n}", "вопрос") for n in range(30))
    item = Item(0, TaskInput(rows), [float(n in (4, 20)) for n in range(30)], "g")
    fields = labelled_fields([item], PairTokenizer(tiny.tokenizer("unigram"), 32), "choice", most_candidates=6)
    assert fields[0]["input_ids"].shape[0] == 6 and fields[0]["label"].sum() == 2


def test_every_answer_is_whole_in_some_window_and_the_best_span_is_the_best_pair() -> None:
    raw = tiny.tokenizer("unigram")
    context = " ".join(f"{name} живёт в доме {n}." for n, name in enumerate(NAMES * 3))
    start = context.index("Клара")
    asked = [Question("1", context, "Кто живёт в доме 8?", ((start, "Клара"),))]
    windows = context_windows(asked[0].question, context, raw, 60)
    assert len(windows) > 3 and windows[0][0] == 0 and windows[-1][1] == len(context)
    assert all(a <= start and start + 5 <= b for a, b in windows if a <= start < b) or len(windows) > 1
    items = question_items(asked, raw, 60)
    tokenizer = PairTokenizer(raw, 60)
    assert any(item.label for item in items)
    for item in items:
        assert len(tokenizer.row(item.input.rows[0]).ids) <= 60
        if item.label:
            assert item.input.rows[0][1][slice(*item.label)] == "Клара"
    rng = np.random.default_rng(0)
    chances, best = [], (0.0, "")
    for item in items:
        row = tokenizer.row(item.input.rows[0])
        one = rng.random((2, len(row.ids))).astype(np.float32)
        chances.append(one)
        places = np.flatnonzero(row.segments == 2)
        for a in places:
            for b in places[(places >= a) & (places < a + 40)]:
                text = item.input.rows[0][1][row.offsets[a, 0] : row.offsets[b, 1]]
                best = max(best, (float(one[0, a]) * float(one[1, b]), text))
    found = best_answers(asked, items, chances, tokenizer, unanswerable=False)
    assert context[found[0].start : found[0].end] == found[0].text == best[1]
    assert found[0].probability == pytest.approx(best[0], rel=1e-6)
    assert answer_scores(asked, {0: found[0]})["em"] == [float(best[1] == "Клара")]


def test_metrics_of_own_tasks_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(1)
    config = task_config("rcb")
    items = [Item(n, TaskInput((("а",),)), int(rng.integers(3)), "g") for n in range(40)]
    found = [rng.random(3).astype(np.float32) for _ in items]
    right, given = [item.label for item in items], [int(np.argmax(one)) for one in found]
    values = {name: value_of(one) for name, one in metrics_of(items, found, config).items()}
    assert values["accuracy"] == pytest.approx(accuracy_score(right, given))
    assert values["macro_f1"] == pytest.approx(f1_score(right, given, average="macro"))
    several = config.model_copy(update={"target": "multi"})
    marks = [[float(x) for x in rng.integers(0, 2, 3)] for _ in items]
    items = [Item(n, item.input, marks[n], "g") for n, item in enumerate(items)]
    values = {name: value_of(one) for name, one in metrics_of(items, found, several).items()}
    table = np.stack(found) > 0.5
    assert values["micro_f1"] == pytest.approx(f1_score(np.array(marks) > 0.5, table, average="micro"))
    assert values["macro_f1"] == pytest.approx(f1_score(np.array(marks) > 0.5, table, average="macro"))


@pytest.mark.parametrize("task", TASKS)
def test_prompts_name_every_text_and_label_of_a_task(task: str) -> None:
    examples = parse_row(TASKS[task], dict(ROWS[task]), "here")
    for example in examples:
        asked = ask(task, example)
        assert "{" not in asked.prompt and asked.right is not None
        hidden = ("choice1", "choice2", "question") if task == "parus" else ()
        texts = [str(example.fields[name]) for name in TASKS[task].texts if name not in hidden]
        assert all(text.replace("\n@highlight\n", " ") in asked.prompt for text in texts)
        assert len(set(asked.answers)) == len(asked.answers) > 1
        bare = ask(task, example, plain=False)
        assert bare.answers == asked.answers and len(bare.prompt) <= len(asked.prompt)
    item = Item(0, TaskInput(((),)), 0, "g", asked)
    counts = Counter(len(one.asked.prompt) for one in with_shots([item] * 3, [item], 1, 0) if one.asked)
    assert next(iter(counts)) > 2 * len(asked.prompt)


def test_an_unknown_task_is_named_with_the_nearest() -> None:
    with pytest.raises(SlonikError, match="did you mean 'terra'"):
        task_config("tera")
