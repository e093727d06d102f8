"""Prompts that are not cut in silence, answers of tokenizers that put a space before every text, several prompts."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from slonik.core.errors import SlonikError
from slonik.evaluation.russian_superglue.readers import parse_row
from slonik.evaluation.russian_superglue.tasks import TASKS, Example
from slonik.finetuning.config import FinetuneRecipe
from slonik.finetuning.finetune import run_finetune
from slonik.finetuning.items import Asked, Item
from slonik.finetuning.language_model_learner import LanguageModelAnswerer
from slonik.finetuning.prompts import _content, ask, with_shots
from slonik.models.generation import load_generator
from slonik.text.pairs import TaskInput
from slonik.text.prompts import Prompts, WritingFacts
from slonik.text.task_config import TaskConfig
from tests.finetuning.finetune_data import NAMES, rwsd, write_lines, writing_model
from tests.finetuning.test_items import ROWS

FACTS = WritingFacts(False, 100, 1, frozenset({2}), 2, 0, 0)


def llama(style: str) -> Tokenizer:
    """A tokenizer as Llama-2 has it: ▁ before every text, by a normalizer or by Metaspace."""
    signs = [*"▁абвгдежзийклмнопрстуфхцчшщъыьэюяО.:?!,-\n", *string.ascii_letters]
    merges = [("▁", "д"), ("▁д", "а"), ("н", "е"), ("▁", "не"), ("▁не", "т"), ("▁", "О"), ("▁", ".")]
    vocab: dict[str, int] = {}
    for token in ("<unk>", "<s>", "</s>", *signs, *(first + second for first, second in merges)):
        vocab.setdefault(token, len(vocab))
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True))
    if style == "normalizer":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=style, split=False)
    return made


@pytest.mark.parametrize("style", ["normalizer", "always", "first"])
@pytest.mark.parametrize("said", ["да", "нет", "нет, да", " да "])
def test_an_answer_has_the_tokens_that_it_has_behind_its_prompt(style: str, said: str) -> None:
    tokenizer = llama(style)
    prompts = Prompts(tokenizer, FACTS, "llama")
    asked = "Ответ:"
    whole = tokenizer.encode(f"{asked} {said.strip()}").ids
    assert [*tokenizer.encode(asked).ids, *prompts.answer(said, ends=False)] == whole
    assert prompts.answer(said) == [*prompts.answer(said, ends=False), 2]
    assert tokenizer.id_to_token(prompts.answer("да")[0]) == "▁да" and prompts.answer("", ends=False) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("words")
    for family in ("t5", "gpt2"):
        writing_model(root, family)
    rows = [
        {"text": f"{NAMES[n % 12]} рада" if n % 2 else f"{NAMES[n % 12]} грустит", "label": bool(n % 2)}
        for n in range(24)
    ]
    write_lines(root / "train.jsonl", rows)
    rwsd(root / "data")
    return root


def asked(number: int, words: int) -> Item:
    question = Asked(f"Вопрос {number} " + "слово " * words, ("да", "нет"), number % 2)
    return Item(number, TaskInput((("а",),)), number % 2, str(number), question)


def test_shots_that_do_not_fit_are_dropped_with_a_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TaskConfig(kind="text2text", task="пробы", target="single", labels=("да", "нет"), details={})
    model = LanguageModelAnswerer(load_generator(folder / "gpt2", max_length=64), config)
    items, shown = [asked(n, 3) for n in range(6)], [asked(n, 4) for n in range(10, 20)]
    whole = [item.asked for item in with_shots(items, shown, 8, 0, "пробы") if item.asked]
    made = model.whole(whole)
    assert all(map(model.fits, made))
    kept = [one.prompt.count("Вопрос") - 1 for one in made]
    assert kept == [len(one.shots) for one in made] and all(0 < count < 8 for count in kept)
    told = (
        f"6 of 6 prompts have no room for all of their examples in 64 tokens: {48 - sum(kept)} examples were left out"
    )
    assert told in capsys.readouterr().err
    # as many as fit: one more would not
    for one, more, count in zip(made, whole, kept, strict=True):
        assert more.prompt.endswith(one.prompt)
        parts = more.prompt.split("\n\n")
        assert not model.fits(replace(more, prompt="\n\n".join(parts[-count - 2 :])))


def test_prompts_that_are_cut_are_counted_and_summaries_keep_the_beginning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for family in ("t5", "gpt2"):
        model = load_generator(folder / family, max_length=40)
        for free in (False, True):
            config = TaskConfig(kind="text2text", task=f"{family}{free}", target="text", details={"answer_tokens": 6})
            answerer = LanguageModelAnswerer(model, config)
            long = Asked("начало " + "слово " * 60 + "конец", ("да", "нет") if not free else (), None, free=free)
            cut = answerer.whole([long, Asked("дом", long.answers, None, free=free)])
            assert f"{family}{free}: 1 of 2 prompts are longer than 40 tokens" in capsys.readouterr().err
            shortened = free and family == "t5"
            assert cut[0].prompt.startswith("начало") and (len(cut[0].prompt) < len(long.prompt)) == shortened
            assert answerer.fits(cut[0]) == shortened
    assert answerer.whole([Asked("дом", (), None, free=True)]) and not capsys.readouterr().err


def test_the_length_is_that_of_the_context_where_none_is_named(folder: Path) -> None:
    from slonik.finetuning.finetune import open_learner

    for train in (True, False):
        recipe = FinetuneRecipe.model_validate(
            {"model": str(folder / "gpt2"), "out": "o", "tasks": ["rwsd"], "data_dir": "d", "train": train}
        )
        learner = open_learner(recipe)
        context = load_generator(folder / "gpt2").max_tokens
        assert learner.settings({}, {})["max_length"] == min(context, 2048)
        assert learner.settings({}, {"max_length": 20})["max_length"] == 20


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_three_prompts_that_can_be_filled_in(task: str) -> None:
    (example, *_) = parse_row(TASKS[task], dict(ROWS[task]), "here")
    found = ask(task, example)
    assert len(found.others) == 2 and len({found.prompt, *found.others}) == 3
    assert all("{" not in prompt for prompt in found.others)
    assert isinstance(example, Example) and ask(task, example, plain=False).others == ()
    assert found.prompted(2).prompt == found.others[1] and _content()["version"]


def settings(folder: Path, out: str, **changes: Any) -> FinetuneRecipe:
    own = {"train": str(folder / "train.jsonl"), **changes.pop("own", {})}
    given = {"model": str(folder / "gpt2"), "out": str(folder / out), "own": own, "train": False, **changes}
    return FinetuneRecipe.model_validate(given)


def test_several_prompts_have_a_mean_and_a_spread(folder: Path) -> None:
    prompts = ["{text} Это", "Отзыв: {text} Вывод:", "{text}"]
    found = run_finetune(settings(folder, "several", prompts="several", own={"prompts": prompts}))
    record = next(one for one in found.records if one.metric == "accuracy" and one.model.endswith("gpt2"))
    assert set(record.detail["prompts"]) == {"0", "1", "2"} and record.detail["spread"] is not None
    values = list(record.detail["prompts"].values())
    assert record.value == pytest.approx(sum(values) / 3)
    assert (record.detail["lowest"], record.detail["highest"]) == (min(values), max(values))
    assert {path.name for path in (folder / "several" / "predictions").iterdir()} == {
        "prompt0",
        "prompt1",
        "prompt2",
        "mean",
    }
    with pytest.raises(SlonikError, match=r"cannot be filled in .*\{text\}"):
        run_finetune(settings(folder, "wrong", own={"prompts": ["{txt} Это"]}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"own": {"prompts": ["{text}", "{text}?"]}}, "2 prompts"),
        ({"prompts": "several", "train": True}, "asked as they are"),
    ],
)
def test_options_of_prompts_that_do_nothing_are_refused(folder: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(folder, "no", **changes)
    with pytest.raises(SlonikError, match="--no-training"):
        run_finetune(settings(folder, "no", shots=2, train=True))
