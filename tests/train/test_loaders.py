"""Batches: every item once an epoch, the same whatever was read before, within budget, columns where they belong."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import torch

from slonik.core.errors import Lost, SlonikError
from slonik.train.feed import Feed, batch_hash
from slonik.train.loaders import BatchLoader, PadFields, example_loader, partner_rows, rows, text_loader, token_rows
from slonik.train.protocols import Batch
from slonik.train.ragged import Ragged
from tests.train import toy


def _loader(**options: int) -> BatchLoader:
    return toy.loader(toy.objective(), **options)


def test_every_epoch_has_every_text_once_in_a_new_order() -> None:
    loader = _loader()
    epochs = [loader.plan(epoch) for epoch in range(2)]
    for plan in epochs:
        assert sorted(np.concatenate(plan).tolist()) == list(range(toy.TEXTS))
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))


def test_plan_depends_on_seed_and_epoch_alone() -> None:
    one, other, third = _loader(), _loader(), _loader(seed=1)
    one.plan(7)
    assert all(np.array_equal(a, b) for a, b in zip(one.plan(3), other.plan(3), strict=True))
    assert not np.array_equal(np.concatenate(one.plan(3)), np.concatenate(third.plan(3)))


def test_batches_keep_to_the_budget_with_little_padding() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 60, size=5000)
    ids = Ragged.of([[5] * length for length in lengths])
    loader = text_loader(ids, toy.objective(), max_texts=64, max_tokens=1024)
    padded = real = 0
    for texts in loader.plan(0):
        longest = int(lengths[texts].max())
        assert len(texts) <= 64 and len(texts) * longest <= 1024
        padded, real = padded + len(texts) * longest, real + int(lengths[texts].sum())
    assert padded / real < 1.05


def test_columns_follow_their_texts() -> None:
    loader = _loader()
    ids, vectors = toy.texts(), toy.columns()["teacher"](np.arange(toy.TEXTS))
    texts = loader.plan(0)[2]
    batch = loader.batch(0, 2, texts)
    assert torch.equal(batch["teacher"], vectors[torch.from_numpy(texts)])
    for row, text in enumerate(texts):
        expected = vectors[toy.TEXTS - 1 - text] if text % 3 == 0 else torch.zeros(toy.DIMENSION)
        assert torch.equal(batch["teacher_partner"][row].float(), expected.float())
        assert batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist() == ids[text].tolist()


def test_token_rows_are_padded_to_the_longest() -> None:
    states = Ragged(np.arange(12, dtype=np.float16).reshape(6, 2), np.array([0, 1, 4, 6]))
    taken = token_rows(states)(np.array([0, 1]))
    assert taken.shape == (2, 3, 2)
    assert taken[0, 1:].abs().max() == 0 and torch.equal(taken[1], torch.arange(2.0, 8.0).reshape(3, 2).half())


def test_partner_of_nobody_is_zero() -> None:
    column = partner_rows(np.ones((2, 3), dtype=np.float16), np.array([-1, 1]))
    assert column(np.array([0, 1])).sum(1).tolist() == [0.0, 3.0]


def test_rows_are_copied_so_that_a_batch_cannot_change_the_cache() -> None:
    array = np.zeros((3, 2), dtype=np.float32)
    rows(array)(np.array([0, 1]))[:] = 5
    assert array.max() == 0


def test_feed_goes_on_from_its_position_across_epochs() -> None:
    loader = _loader()
    with Feed(loader) as feed:
        seen = [next(feed).place for _ in range(20)]
        position = feed.position
        expected = [next(feed).place for _ in range(3)]
    with Feed(loader, *position) as again:
        got = [next(again).place for _ in range(3)]
    assert [str(place) for place in got] == [str(place) for place in expected]
    assert seen[-1].epoch == 2


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_a_step_is_the_same_batches_whatever_the_number_of_processes(world: int) -> None:
    loader, batches, steps = _loader(), 6, 3
    with Feed(loader) as alone:
        expected = [[str(turn.place) for turn in itertools.islice(alone, batches)] for _ in range(steps)]
        after = alone.position
    found: list[dict[int, str]] = [{} for _ in range(steps)]
    for rank in range(world):
        with Feed(loader, batches=batches, rank=rank, world=world) as feed:
            for step in found:
                turns = list(itertools.islice(feed, feed.rounds))
                mine = {turn.number: str(turn.place) for turn in turns if turn.counts}
                assert not mine.keys() & step.keys()  # no batch is read by two
                step |= mine
            assert feed.position == after
    assert [[step[number] for number in range(batches)] for step in found] == expected


def test_a_step_goes_on_where_the_last_one_of_other_processes_ended() -> None:
    loader = _loader()
    with Feed(loader, batches=4, rank=1, world=2) as feed:
        list(itertools.islice(feed, 2 * feed.rounds))
        position = feed.position
    with Feed(loader, *position) as again, Feed(loader) as whole:
        assert str(next(again).place) == [str(turn.place) for turn in itertools.islice(whole, 9)][8]


def test_a_batch_that_does_not_come_is_told_with_its_place() -> None:
    stuck = threading.Event()
    loader = BatchLoader(lambda *_: [np.arange(2)], lambda *_: stuck.wait() and {}, seed=0, fingerprint="")
    with Feed(loader, patience=0.01, rank=3, world=4, batches=4) as feed:
        with pytest.raises(Lost, match=r"process 3 has waited .* \(epoch 0, batch 0\): .*run the same command again"):
            next(feed)
        stuck.set()


def test_processes_prepare_the_same_batches_in_the_same_order() -> None:
    loader = _loader()
    with Feed(loader, batches=3) as one, Feed(loader, batches=3, processes=2) as other:
        for _ in range(8):
            expected, found = next(one), next(other)
            assert (str(found.place), found.number) == (str(expected.place), expected.number)
            assert batch_hash(found.batch) == batch_hash(expected.batch) and other.position == one.position


def test_what_a_process_refuses_is_said_as_it_is() -> None:
    def refused(*_: object) -> Batch:
        raise SlonikError("shard 3 is damaged")

    loader = BatchLoader(lambda *_: [np.arange(2)], refused, seed=0, fingerprint="")
    with Feed(loader, processes=1) as feed, pytest.raises(SlonikError, match=r"^shard 3 is damaged$"):
        next(feed)


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(SlonikError, match="corpus is empty"):
        text_loader(Ragged.of([]), toy.objective())


def test_fingerprint_knows_texts_columns_and_budget() -> None:
    prints = {_loader().fingerprint, _loader(max_texts=4).fingerprint, _loader(seed=3).fingerprint}
    other = text_loader(toy.texts(), toy.objective(), max_texts=8).fingerprint
    assert len({*prints, other}) == 4 and _loader().fingerprint in prints


def test_groups_share_a_batch_and_the_budget_is_kept() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 60, size=3000)
    groups = np.full(3000, -1)
    groups[1000:2000] = rng.permutation(np.repeat(np.arange(500), 2))
    loader = text_loader(
        Ragged.of([[5] * n for n in lengths]), toy.objective(), max_texts=64, max_tokens=512, groups=groups
    )
    plan = loader.plan(0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(3000))
    home = {int(text): number for number, batch in enumerate(plan) for text in batch}
    for group in range(500):
        first, second = np.flatnonzero(groups == group)
        assert home[int(first)] == home[int(second)]
    for batch in plan:
        assert len(batch) <= 64 and len(batch) * int(lengths[batch].max()) <= 512
    assert (
        loader.fingerprint
        != text_loader(Ragged.of([[5] * n for n in lengths]), toy.objective(), max_texts=64).fingerprint
    )


def made(count: int = 37) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {"input_ids": rng.integers(5, 90, size=int(rng.integers(1, 30))), "label": np.asarray(n, dtype=np.int64)}
        for n in range(count)
    ]


def test_every_example_comes_once_an_epoch_within_the_budget() -> None:
    examples = made()
    loader = example_loader(examples, PadFields(), max_texts=6, max_tokens=64, seed=4)
    for epoch in range(3):
        plan = loader.plan(epoch)
        assert sorted(np.concatenate(plan).tolist()) == list(range(len(examples)))
        for texts in plan:
            assert len(texts) <= 6
            assert len(texts) * max(examples[n]["input_ids"].size for n in texts) <= 64
    assert [p.tolist() for p in loader.plan(1)] == [
        p.tolist() for p in example_loader(examples, PadFields(), max_texts=6, max_tokens=64, seed=4).plan(1)
    ]
    assert [p.tolist() for p in loader.plan(1)] != [p.tolist() for p in loader.plan(2)]


def test_fields_are_padded_at_the_end_of_every_axis() -> None:
    examples = [
        {"input_ids": np.array([[7, 8], [9, 1]]), "label": np.array([1.0, 0.0]), "candidates": np.array([True, True])},
        {"input_ids": np.array([[5, 5, 5]]), "label": np.array([1.0]), "candidates": np.array([True])},
    ]
    batch = PadFields({"input_ids": 1})(examples)
    assert batch["input_ids"].tolist() == [[[7, 8, 1], [9, 1, 1]], [[5, 5, 5], [1, 1, 1]]]
    assert batch["label"].tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert batch["candidates"].tolist() == [[True, True], [True, False]]


def test_the_fingerprint_sees_every_value() -> None:
    prints = set()
    for change in range(4):
        examples = made()
        if change == 1:
            examples[30]["label"] = np.asarray(99, dtype=np.int64)
        if change == 2:
            examples[3]["input_ids"][0] += 1
        prints.add(example_loader(examples, PadFields(), seed=1 if change == 3 else 0).fingerprint)
    assert len(prints) == 4
    with pytest.raises(SlonikError, match="no training examples"):
        example_loader([], PadFields())
