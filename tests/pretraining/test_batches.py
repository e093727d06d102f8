"""Batches of sequences: each once per epoch, within the budget, the same in every run; switching corpora."""

from __future__ import annotations

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.models.fresh import Shape, TokenIds, build
from slonik.pretraining.batches import sequence_loader
from slonik.pretraining.denoising import DenoiserMixture
from slonik.pretraining.objectives import CausalLanguageModel, MaskedLanguageModel, NextSentencePrediction
from slonik.pretraining.packed import pack_pairs
from slonik.pretraining.repetition.runs import SwitchingLoader
from slonik.pretraining.sequences import Format, Specials, TokenSequences
from slonik.pretraining.shards import TokenCorpus
from slonik.train.feed import Feed
from slonik.train.kernels import repeated_blocks
from slonik.train.loaders import BatchLoader, StagedLoader
from tests.pretraining import vocabulary


def _corpus(seed: int = 0, documents: int = 60) -> TokenCorpus:
    rng = np.random.default_rng(seed)
    words = vocabulary.pieces().ordinary
    made = [
        [rng.choice(words, size=int(rng.integers(2, 15))).tolist() for _ in range(int(rng.integers(1, 6)))]
        for _ in range(documents)
    ]
    return TokenCorpus.of(made, key=f"toy {seed}")


def _loader(form: Format = "documents", *, pack: bool = False, seed: int = 0, **options: int) -> BatchLoader:
    specials = Specials((0,), (2,), (2,), (2,))
    sequences = TokenSequences(_corpus(**options), form, 32, specials)
    pairs = form.endswith("pair")
    goal = NextSentencePrediction(vocabulary.pieces()) if pairs else MaskedLanguageModel(
        vocabulary.pieces(), pack_to=32 if pack else None
    )  # fmt: skip
    return sequence_loader(sequences, goal, batch_tokens=256, pack_to=32 if pack else None, seed=seed)


@pytest.mark.parametrize("pack", [False, True])
def test_each_sequence_once_within_the_budget(pack: bool) -> None:
    loader = _loader(pack=pack)
    plan = loader.plan(0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(sum(map(len, plan))))
    filled = []
    for index, texts in enumerate(plan):
        batch = loader.batch(0, index, texts)
        assert batch["input_ids"].numel() <= 256
        filled.append(float(batch["attention_mask"].float().mean()))
    if pack:
        assert np.mean(filled) > 0.95
    assert [part.tolist() for part in plan] != [part.tolist() for part in loader.plan(1)]


def test_the_same_batch_in_every_run_and_another_for_another_seed() -> None:
    def batch(seed: int):  # type: ignore[no-untyped-def]
        loader = _loader(seed=seed)
        return loader.batch(3, 1, loader.plan(3)[1])

    same, again, other = batch(0), batch(0), batch(1)
    assert all((same[name] == again[name]).all() for name in same)
    assert same["input_ids"].shape != other["input_ids"].shape or (same["input_ids"] != other["input_ids"]).any()


def test_pairs_bring_their_labels() -> None:
    loader = _loader("segment_pair")
    batch = loader.batch(0, 0, loader.plan(0)[0])
    assert len(batch["next_sentence_label"]) == len(batch["input_ids"])
    assert set(batch["next_sentence_label"].tolist()) <= {0, 1}


def test_fingerprints_tell_corpora_apart() -> None:
    assert _loader().fingerprint == _loader().fingerprint
    assert _loader().fingerprint != _loader(documents=30).fingerprint


def test_what_does_not_fit_is_refused() -> None:
    sequences = TokenSequences(_corpus(), "documents", 32)
    goal = MaskedLanguageModel(vocabulary.pieces())
    with pytest.raises(SlonikError, match="do not fit into rows of 16"):
        sequence_loader(sequences, goal, batch_tokens=64, pack_to=16)
    with pytest.raises(SlonikError, match="batches of 20 tokens"):
        sequence_loader(sequences, goal, batch_tokens=20)


def test_switching_reads_the_first_corpus_again_and_again_and_then_the_second() -> None:
    small, large = _loader(documents=8), _loader(documents=60)
    per_epoch = len(small.plan(0))
    loader = SwitchingLoader([(small, 2 * per_epoch + 1), (large, 3)])
    plan = loader.plan(0)
    assert len(plan) == 2 * per_epoch + 4
    assert loader.epochs == [3, 1]
    whole = loader.batch(0, per_epoch, plan[per_epoch])
    own = small.batch(1, 0, small.plan(1)[0])
    assert all((whole[name] == own[name]).all() for name in own)
    last = loader.batch(0, len(plan) - 1, plan[-1])
    own = large.batch(0, 2, large.plan(0)[2])
    assert (last["input_ids"] == own["input_ids"]).all()


def test_stages_follow_each_other_batch_by_batch_and_the_last_goes_on() -> None:
    small, large = _loader(documents=8), _loader(documents=60)
    per_epoch = len(small.plan(0))
    loader = StagedLoader([(small, 2 * per_epoch + 1)], large)
    feed = Feed(loader)
    with feed:
        read = [next(feed) for _ in range(2 * per_epoch + 4)]
    expected = [(small, 0, n) for n in range(per_epoch)] + [(small, 1, n) for n in range(per_epoch)]
    expected += [(small, 2, 0), (large, 0, 0), (large, 0, 1), (large, 0, 2)]
    for turn, (source, epoch, index) in zip(read, expected, strict=True):
        wanted = source.batch(epoch, index, source.plan(epoch)[index])
        assert all((turn.batch[name] == wanted[name]).all() for name in wanted)
    with Feed(loader, read[-2].place.epoch, read[-2].place.index) as resumed:
        assert (next(resumed).batch["input_ids"] == read[-2].batch["input_ids"]).all()
    assert loader.fingerprint != StagedLoader([(small, 2 * per_epoch)], large).fingerprint


@pytest.mark.parametrize("family", ["gpt2", "fred-t5"])
def test_compiled_layers_of_decoders_are_whole_graphs(family: str) -> None:
    shape = Shape(family=family, layers=2, hidden=16, heads=2, ffn=16, max_length=48)  # type: ignore[arg-type]
    model = build(shape, TokenIds(vocabulary.SIZE, pad=1, bos=0, eos=2))
    facts, rng = vocabulary.pieces(130), np.random.default_rng(0)
    for layer in repeated_blocks(model)[1::2]:  # the others have the table of positions besides, and cost as much again
        layer.compile(backend="eager", fullgraph=True)  # a break in the graph is an error then
    if family == "gpt2":
        goal = CausalLanguageModel(facts, pack_to=48)
        loss = goal.loss(model, goal.corrupt(vocabulary.texts(3, rng), rng))
    else:
        mixture = DenoiserMixture(facts, input_length=48)
        pairs = [mixture.example(rng.choice(facts.ordinary, size=12), kind, rng) for kind in range(4)]
        loss = mixture.loss(model, pack_pairs(pairs, 48, facts.pad, -100))
    loss.total.backward()
    assert np.isfinite(float(loss.total.detach()))
