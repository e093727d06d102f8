"""RoBERTa's four formats by their definitions, and blocks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.pretraining.sequences import Format, Specials, TokenSequences, causal_specials
from slonik.pretraining.shards import TokenCorpus
from tests.pretraining import vocabulary

CLS, SEP = 1, 2
SPECIALS = Specials((CLS,), (SEP,), (SEP,), (SEP,))


def _corpus(documents: int = 40, seed: int = 0, longest: int = 12) -> TokenCorpus:
    """Documents of sentences; each token is a number of its own from 10 on."""
    rng = np.random.default_rng(seed)
    made, token = [], 10
    for _ in range(documents):
        document = []
        for _ in range(int(rng.integers(1, 8))):
            length = int(rng.integers(1, longest))
            document.append(list(range(token, token + length)))
            token += length
        made.append(document)
    return TokenCorpus.of(made)


def _rows(sequences: TokenSequences, epoch: int = 0) -> list[list[int]]:
    return [sequences.row(epoch, number).tolist() for number in range(len(sequences.table(epoch)))]


def _owner(corpus: TokenCorpus, token: int) -> int:
    return int(np.searchsorted(corpus.document_starts, token - 10, "right")) - 1


@pytest.mark.parametrize("form", ["full_sentences", "doc_sentences", "documents", "blocks"])
def test_every_token_is_read_once_and_lengths_are_those_of_the_rows(form: Format) -> None:
    corpus = _corpus()
    sequences = TokenSequences(corpus, form, 24, SPECIALS)
    rows = _rows(sequences)
    assert [len(row) for row in rows] == sequences.lengths(0).tolist()
    assert max(map(len, rows)) <= 24
    assert all(row[0] == CLS and row[-1] == SEP for row in rows)
    read = [token for row in rows for token in row if token >= 10]
    missing = corpus.token_count - len(read)
    assert read == list(range(10, 10 + len(read)))
    assert missing == 0 if form != "blocks" else missing < 24


def test_full_sentences_cross_documents_with_a_separator_and_keep_sentences_whole() -> None:
    corpus = _corpus()
    ends = set((corpus.sentences[1:] + 9).tolist())
    crossing = 0
    for row in _rows(TokenSequences(corpus, "full_sentences", 32, SPECIALS)):
        assert row[-2] in ends
        for left, right in itertools.pairwise(row[1:-1]):
            if right == SEP:
                crossing += 1
                assert left in ends
            elif left != SEP and _owner(corpus, left) != _owner(corpus, right):
                raise AssertionError("two documents without a separator")
    assert crossing > 10


def test_doc_sentences_never_cross_a_document_and_are_as_long_as_they_can_be() -> None:
    corpus = _corpus()
    sequences = TokenSequences(corpus, "doc_sentences", 24, SPECIALS)
    table = sequences.table(0)
    for first, last in table[:, :2].tolist():
        assert _owner(corpus, first + 10) == _owner(corpus, last + 9)
        following = corpus.sentences[np.searchsorted(corpus.sentences, last) + 1 :][:1]
        if last not in corpus.document_starts and len(following):
            assert following[0] - first > 22  # the next sentence would not have fitted


def test_a_sentence_longer_than_a_sequence_is_cut() -> None:
    corpus = TokenCorpus.of([[list(range(10, 60)), [60]]])
    rows = _rows(TokenSequences(corpus, "full_sentences", 22, SPECIALS))
    assert [len(row) - 2 for row in rows] == [20, 20, 10, 1]


def test_blocks_are_full() -> None:
    lengths = TokenSequences(_corpus(), "blocks", 24, Specials(separator=(SEP,))).lengths(0)
    assert (lengths[:-1] >= 23).all()  # one token may be left where a separator falls on the end


@pytest.mark.parametrize("length", [4, 7, 24])
@pytest.mark.parametrize("form", ["full_sentences", "doc_sentences", "documents", "blocks"])
@pytest.mark.parametrize("longest", [2, 12, 60])
def test_a_decoder_reads_begin_and_end_where_documents_begin_and_end(form: Format, length: int, longest: int) -> None:
    corpus = _corpus(longest=longest)
    sequences = TokenSequences(corpus, form, length, causal_specials(vocabulary.pieces(), form))
    rows = _rows(sequences)
    assert [len(row) for row in rows] == sequences.lengths(0).tolist() and max(map(len, rows)) <= length
    starts = corpus.document_starts
    stream: list[int] = []
    for first, last in itertools.pairwise(starts.tolist()):
        stream += [vocabulary.BOS, *range(first + 10, last + 10), vocabulary.EOS]
    read = [token for row in rows for token in row]
    assert read == stream[: len(read)]
    assert len(read) == len(stream) if form != "blocks" else len(stream) - len(read) < length
    if form == "blocks":
        assert min(map(len, rows[:-1])) >= length - 2  # begin and end go with a token of their document
    if form == "documents":  # as few pieces as there can be
        assert len(rows) == sum(-(-(size + 2) // length) for size in np.diff(starts).tolist())


def test_a_decoder_without_a_begin_token_reads_its_end_token_once_between_texts() -> None:
    facts = replace(vocabulary.pieces(), bos=vocabulary.EOS)
    joined = _rows(TokenSequences(_corpus(), "blocks", 24, causal_specials(facts, "blocks")))
    flat = [token for row in joined for token in row]
    assert all(pair != (vocabulary.EOS,) * 2 for pair in itertools.pairwise(flat)) and vocabulary.EOS in flat
    alone = _rows(TokenSequences(_corpus(), "documents", 200, causal_specials(facts, "documents")))
    assert all(row[0] == row[-1] == vocabulary.EOS for row in alone)


@pytest.mark.parametrize("form", ["segment_pair", "sentence_pair"])
def test_half_of_the_pairs_follow_and_the_others_come_from_another_document(form: Format) -> None:
    corpus = _corpus(documents=400)
    sequences = TokenSequences(corpus, form, 64, SPECIALS, short_share=0.0)
    table = sequences.table(0)
    rows = _rows(sequences)
    assert [len(row) for row in rows] == sequences.lengths(0).tolist()
    assert max(map(len, rows)) <= 64
    # a document's last sentence left alone has no choice, as in BERT's own code
    free = table[~np.isin(table[:, 1], corpus.document_starts)]
    assert (table[np.isin(table[:, 1], corpus.document_starts), 4] == 1).all()
    follows = int((free[:, 4] == 0).sum())
    assert abs(follows - len(free) / 2) < 3 * (len(free) / 4) ** 0.5
    for first, last, other, end, label in table.tolist():
        assert last > first and end > other
        same = _owner(corpus, first + 10) == _owner(corpus, other + 10)
        assert same == (label == 0)
        if label == 0:
            assert other >= last
        if form == "sentence_pair":
            bounds = corpus.sentences
            assert first in bounds and last in bounds and other in bounds and end in bounds
    row = rows[0]
    assert row.count(SEP) == 2 and row[0] == CLS and row[-1] == SEP


def test_pairs_are_new_each_epoch_and_the_same_in_every_run() -> None:
    corpus = _corpus(documents=60)
    first, second = (TokenSequences(corpus, "segment_pair", 40, SPECIALS, seed=3) for _ in range(2))
    assert _rows(first, 1) == _rows(second, 1)
    assert _rows(first, 0) != _rows(first, 1)


def test_segment_pairs_are_longer_than_sentence_pairs() -> None:
    corpus = _corpus(documents=200)
    segments = TokenSequences(corpus, "segment_pair", 64, SPECIALS).lengths(0).mean()
    sentences = TokenSequences(corpus, "sentence_pair", 64, SPECIALS).lengths(0).mean()
    assert segments > 1.5 * sentences


@pytest.mark.parametrize("form", ["segment_pair", "sentence_pair"])
def test_documents_of_one_sentence_give_no_neighbours_and_are_refused(form: Format) -> None:
    alone = [[[10 + number, 11 + number]] for number in range(80)]
    with pytest.raises(SlonikError, match=r"only 0% of the pairs are neighbours.* 80 documents have 80 sentences"):
        TokenSequences(TokenCorpus.of(alone), form, 16, SPECIALS)


def test_too_short_corpora_and_lengths_are_refused() -> None:
    with pytest.raises(SlonikError, match="leave no room"):
        TokenSequences(_corpus(2), "documents", 2, SPECIALS)
    with pytest.raises(SlonikError, match="too short for a single sequence"):
        TokenSequences(TokenCorpus.of([[[10]]]), "documents", 16, SPECIALS, min_tokens=5)
    with pytest.raises(SlonikError, match="too short for a single sequence"):
        TokenSequences(TokenCorpus.of([[[10]]]), "sentence_pair", 16, SPECIALS)
