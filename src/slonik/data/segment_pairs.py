"""Pairs for next-sentence prediction: BERT's segment pairs and RoBERTa's pairs of single sentences.

Source: Devlin et al., "BERT" (2019), section 3.1 and appendix A.2, and the authors' `create_pretraining_data`:
sentences of one document are gathered up to a target length and cut in two at a random sentence; in half of the pairs
the second part comes from a random other document, and the sentences that it replaced are used again.
"""

from __future__ import annotations

import numpy as np

from slonik.data.token_corpus import IntArray, TokenCorpus

_FOLLOWS, _RANDOM = 0, 1


def segment_pairs(corpus: TokenCorpus, room: int, rng: np.random.Generator, short_share: float) -> IntArray:
    """(R, 5) pairs of segments with at most `room` tokens together; see `sequence_formats`."""
    rows: list[tuple[int, int, int, int, int]] = []
    for document in range(len(corpus)):
        first, last = int(corpus.documents[document]), int(corpus.documents[document + 1])
        while first < last:
            target = int(rng.integers(2, room + 1)) if rng.random() < short_share else room
            end = _gather(corpus, first, last, target)
            cut = int(rng.integers(first + 1, end)) if end - first > 1 else end
            other = _other_document(corpus, document, rng) if cut == end or rng.random() < 0.5 else None
            a = (int(corpus.sentences[first]), int(corpus.sentences[cut]))
            if other is not None:
                start = int(rng.integers(corpus.documents[other], corpus.documents[other + 1]))
                stop = _gather(corpus, start, int(corpus.documents[other + 1]), max(1, target - (a[1] - a[0])))
                b, label, first = (start, stop), _RANDOM, cut
            elif cut < end:
                b, label, first = (cut, end), _FOLLOWS, end
            else:  # a corpus of one document ends in a sentence that nothing follows
                break
            tokens = (int(corpus.sentences[b[0]]), int(corpus.sentences[b[1]]))
            rows.append((*_truncate(a, tokens, room, rng), label))
    return np.asarray(rows, dtype=np.int64).reshape(-1, 5)


def sentence_pairs(corpus: TokenCorpus, room: int, rng: np.random.Generator) -> IntArray:
    """(R, 5) pairs of single sentences, cut to `room` tokens together."""
    rows: list[tuple[int, int, int, int, int]] = []
    for document in range(len(corpus)):
        sentence, last = int(corpus.documents[document]), int(corpus.documents[document + 1])
        while sentence < last:
            alone = sentence + 1 == last
            other = _other_document(corpus, document, rng) if alone or rng.random() < 0.5 else None
            if other is not None:
                second = int(rng.integers(corpus.documents[other], corpus.documents[other + 1]))
                label, step = _RANDOM, 1
            elif alone:
                break
            else:
                second, label, step = sentence + 1, _FOLLOWS, 2
            bounds = corpus.sentences
            a = (int(bounds[sentence]), int(bounds[sentence + 1]))
            b = (int(bounds[second]), int(bounds[second + 1]))
            rows.append((*_truncate(a, b, room, rng), label))
            sentence += step
    return np.asarray(rows, dtype=np.int64).reshape(-1, 5)


def _gather(corpus: TokenCorpus, first: int, last: int, target: int) -> int:
    """The end of the sentences from `first` on that reach `target` tokens, at most `last`."""
    wanted = corpus.sentences[first] + target
    return min(last, max(first + 1, int(np.searchsorted(corpus.sentences, wanted, "left"))))


def _other_document(corpus: TokenCorpus, document: int, rng: np.random.Generator) -> int | None:
    """Any document but this one; None where there is no other."""
    if len(corpus) < 2:
        return None
    drawn = int(rng.integers(len(corpus) - 1))
    return drawn + (drawn >= document)


def _truncate(a: tuple[int, int], b: tuple[int, int], room: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Take tokens off the longer segment, from its front or its end, until both fit."""
    sizes = [a[1] - a[0], b[1] - b[0]]
    excess = sum(sizes) - room
    if excess <= 0:
        return (*a, *b)
    # Taking one token at a time off the longer one ends with equal halves, or with the shorter one whole.
    longer = 0 if sizes[0] >= sizes[1] else 1
    cuts = [0, 0]
    cuts[longer] = min(excess, abs(sizes[0] - sizes[1]))
    rest = excess - cuts[longer]
    cuts[longer] += -(-rest // 2)
    cuts[1 - longer] += rest // 2
    front = [int(rng.binomial(cut, 0.5)) for cut in cuts]
    return (
        a[0] + front[0], a[1] - (cuts[0] - front[0]), b[0] + front[1], b[1] - (cuts[1] - front[1])
    )  # fmt: skip
