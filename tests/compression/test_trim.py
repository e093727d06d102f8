"""Pieces are counted over the whole corpus, not over its first lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slonik.compression.config import CorpusConfig, TrimConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.trim import corpus_to_count, plan_by_rules, plan_trim
from slonik.models import load
from slonik.text.tokenizers.rules import TrimRules
from tests import tiny


def test_a_sorted_corpus_is_counted_from_end_to_end(tmp_path: Path) -> None:
    lines = [f"строка {number}" for number in range(1000)]
    (tmp_path / "ru.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "pairs.tsv").write_text("\n".join(f"line {n}\tстрока {n}" for n in range(100)), encoding="utf-8")
    corpus = CorpusConfig(texts=(str(tmp_path / "ru.txt"),), pairs=(str(tmp_path / "pairs.tsv"),))
    counted = list(corpus_to_count(corpus, 300))
    assert counted[: len(lines) // 4] == lines[::4]
    assert counted[250:252] == ["line 0", "строка 0"]
    assert len(counted) == 250 + 200


def test_the_pipeline_and_the_command_keep_the_same_tokens(tmp_path: Path) -> None:
    path = tmp_path / "ru.txt"
    path.write_text("\n".join(tiny.TEXTS * 2), encoding="utf-8")
    encoder = load(tiny.checkpoint(tmp_path / "model", "xlm-roberta"))
    prefixes = {"none": "", "query": "query: "}
    encoder.sentence = replace(encoder.sentence, prefixes=prefixes, default_prefix=None)
    settings = TrimConfig(mode="counts", min_count=2, count_texts=1000)
    of_pipeline = plan_trim(encoder, CorpusConfig(texts=(str(path),)), settings, CorpusSample([], [], [], []))
    replaced = CorpusSample([], [], [], [], substituted=[english for english, _ in tiny.PAIRS])
    with_more = plan_trim(encoder, CorpusConfig(texts=(str(path),)), settings, replaced)
    assert set(with_more.token_ids) > set(of_pipeline.token_ids)
    rules = TrimRules(mode="counts", min_count=2)
    of_command = plan_by_rules(encoder, rules, tiny.TEXTS * 2)
    assert of_pipeline.token_ids == of_command.token_ids
    assert of_pipeline.rules == of_command.rules == rules.model_copy(update={"always_keep": ("query: ",)})
    kept_by_hand = plan_by_rules(encoder, TrimRules(mode="counts", min_count=2, always_keep=("Слон",)), tiny.TEXTS * 2)
    assert kept_by_hand.rules.always_keep == ("Слон", "query: ")
