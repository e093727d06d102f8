"""How a tokenised corpus becomes training sequences: RoBERTa's four input formats, and plain blocks.

Source: Liu et al., "RoBERTa" (2019), section 4.2, as the paper defines them:
- SEGMENT-PAIR (+NSP): BERT's own: two segments of several sentences each, at most `length` tokens together;
- SENTENCE-PAIR (+NSP): two single sentences, neighbours or from separate documents; far shorter, so that a batch by
  tokens holds more of them;
- FULL-SENTENCES: whole sentences in their order up to `length`; at the end of a document goes on with the next one,
  with one more separator between them;
- DOC-SENTENCES: the same, but never across a document's end: sequences there are short, and a batch by tokens grows.
Two more: `documents` = DOC-SENTENCES, cut at token borders (a long document gives full sequences), and `blocks`: all
tokens one after another, cut into full blocks, as GPT-2 and T5 read their corpora.

Sequences are ranges of tokens; special tokens are put around them here: those that stand around every sequence, and
those that stand only where a document begins or ends, so that a decoder learns to end a text where texts end. The pairs
of an epoch depend on (seed, epoch).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed
from slonik.pretraining.shards import IntArray, TokenCorpus
from slonik.text.tokenizers.token_facts import TokenFacts

Format = Literal["segment_pair", "sentence_pair", "full_sentences", "doc_sentences", "documents", "blocks"]
NO_LABEL = -100
_FOLLOWS, _RANDOM = 0, 1
_FEWEST_NEIGHBOURS, _PAIRS_TO_JUDGE = 0.1, 50


@dataclass(frozen=True)
class Specials:
    """Ids put around sequences: `head` A `tail`, or `head` A `between` B `tail`; `separator` between documents.

    `begin` stands before the first token of a document and `end` after its last, and nowhere else (not in pairs).
    """

    head: tuple[int, ...] = ()
    tail: tuple[int, ...] = ()
    between: tuple[int, ...] = ()
    separator: tuple[int, ...] = ()
    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()


def causal_specials(facts: TokenFacts, form: Format) -> Specials:
    """What stands around the texts of a left-to-right model: its begin token where a document begins, its end token
    where one ends; a piece of a document that ends in mid-phrase has none.

    A model without a begin token of its own reads its end token before a text (GPT-2's <|endoftext|>), one between two.

    Raises:
        SlonikError: the vocabulary has no end token.
    """
    end = facts.need("eos", "a causal language model")
    if facts.bos is not None and facts.bos != end:
        return Specials(begin=(facts.bos,), end=(end,))
    return Specials(end=(end,)) if form in ("full_sentences", "blocks") else Specials(begin=(end,), end=(end,))


class TokenSequences:
    """The sequences of a corpus in one format.

    Args:
        corpus: the tokens.
        form: the format.
        length: the most tokens of a sequence, specials included.
        specials: what is put around.
        seed: of the pairs.
        short_share: SEGMENT-PAIR: share of pairs with a shorter target length, drawn evenly (BERT: .1).
        min_tokens: shorter sequences (specials not counted) are left out.

    Raises:
        SlonikError: the length leaves no room for text, the corpus gives no sequence, or hardly any pair of neighbours.
    """

    def __init__(
        self,
        corpus: TokenCorpus,
        form: Format,
        length: int,
        specials: Specials = Specials(),
        *,
        seed: int = 0,
        short_share: float = 0.1,
        min_tokens: int = 1,
    ) -> None:
        self.corpus, self.form, self.length, self.specials = corpus, form, length, specials
        self._seed, self._short, self._min = seed, short_share, min_tokens
        around = len(specials.head) + len(specials.tail) + (len(specials.between) if self.has_pairs else 0)
        self._room = length - around
        around += 0 if self.has_pairs else len(specials.begin) + len(specials.end)
        if length - around < (2 if self.has_pairs else 1):
            raise SlonikError(f"sequences of {length} tokens leave no room beside {around} special tokens")
        self._tables: dict[int, IntArray] = {}
        if not len(self.table(0)):
            raise SlonikError(
                f"the corpus of {corpus.token_count:,} tokens is too short for a single sequence of the format {form} "
                f"with {length} tokens: give more text or a shorter length"
            )
        if self.has_pairs:
            self._check_neighbours()

    def _check_neighbours(self) -> None:
        follows = self.table(0)[:, 4] == 0
        if len(follows) >= _PAIRS_TO_JUDGE and (share := follows.mean()) < _FEWEST_NEIGHBOURS:
            sentences = len(self.corpus.sentences) - 1
            raise SlonikError(
                f"only {share:.0%} of the pairs are neighbours, and next-sentence prediction wants half: the corpus's "
                f"{len(self.corpus):,} documents have {sentences:,} sentences; a line break ends a sentence, so take "
                "several lines for a document (corpus.border: 32, or blank for blank lines), or break lines in records"
            )

    @property
    def has_pairs(self) -> bool:
        """Whether a sequence is a pair with a label."""
        return self.form in ("segment_pair", "sentence_pair")

    def table(self, epoch: int) -> IntArray:
        """(R, 5) first and last token of A, of B (0, 0 without one), and the label: 0 follows, 1 does not, -100."""
        key = epoch if self.has_pairs else 0
        if key not in self._tables:
            # The last epoch stays: its batches may still be in preparation when the next one is planned.
            self._tables = {old: table for old, table in self._tables.items() if old == key - 1} | {
                key: self._build(key)
            }
        return self._tables[key]

    def _build(self, epoch: int) -> IntArray:
        rng = np.random.default_rng(derive_seed(self._seed, "pairs", epoch))
        if self.form == "segment_pair":
            return segment_pairs(self.corpus, self._room, rng, self._short)
        if self.form == "sentence_pair":
            return sentence_pairs(self.corpus, self._room, rng)
        ranges = {
            "full_sentences": self._full_sentences,
            "doc_sentences": self._doc_sentences,
            "documents": self._documents,
            "blocks": self._blocks,
        }[self.form]()
        table = np.zeros((len(ranges), 5), dtype=np.int64)
        table[:, :2] = ranges
        table[:, 4] = NO_LABEL
        return table[table[:, 1] - table[:, 0] >= self._min]

    def lengths(self, epoch: int) -> IntArray:
        """(R,) tokens of each sequence, specials included."""
        table = self.table(epoch)
        specials = self.specials
        sizes = table[:, 1] - table[:, 0] + table[:, 3] - table[:, 2] + len(specials.head) + len(specials.tail)
        if self.has_pairs:
            return sizes + len(specials.between)
        return sizes + self._extra(table[:, 0], table[:, 1])

    def row(self, epoch: int, number: int) -> IntArray:
        """Ids of a sequence, specials included."""
        first, last, other_first, other_last, _ = (int(value) for value in self.table(epoch)[number])
        specials = self.specials
        parts: list[NDArray[np.int64] | tuple[int, ...]] = [specials.head]
        if self.has_pairs:
            second = self.corpus.tokens(other_first, other_last)
            parts += [self.corpus.tokens(first, last), specials.between, second]
        else:
            parts += self._with_separators(first, last)
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in [*parts, specials.tail]])

    def label(self, epoch: int, number: int) -> int:
        """0 = B follows A, 1 = it does not, -100 = no pair."""
        return int(self.table(epoch)[number, 4])

    def _with_separators(self, first: int, last: int) -> list[NDArray[np.int64] | tuple[int, ...]]:
        starts, specials = self._starts, self.specials
        before, after = (int(np.searchsorted(starts, place, "right")) for place in (first, last))
        begins, ends = first == starts[before - 1], last == starts[after - 1]
        cuts = [first, *starts[before : int(np.searchsorted(starts, last, "left"))].tolist(), last]
        parts: list[NDArray[np.int64] | tuple[int, ...]] = [specials.begin] if begins else []
        for index, (start, end) in enumerate(itertools.pairwise(cuts)):
            parts += [specials.end, specials.separator, specials.begin] if index else []
            parts.append(self.corpus.tokens(start, end))
        return [*parts, specials.end] if ends else parts

    @property
    def _starts(self) -> IntArray:
        return self.corpus.document_starts

    def _extra(self, first: Any, last: Any) -> Any:
        """Tokens that documents' borders add to the ranges first .. last - 1, one number or (R,) of them."""
        starts, specials = self._starts, self.specials
        begun = np.searchsorted(starts, last, "left") - np.searchsorted(starts, first, "left")
        ended = np.searchsorted(starts, last, "right") - np.searchsorted(starts, first, "right")
        inside = np.searchsorted(starts, last, "left") - np.searchsorted(starts, first, "right")
        return len(specials.begin) * begun + len(specials.end) * ended + len(specials.separator) * inside

    def _full_sentences(self) -> IntArray:
        """Greedy: as many whole sentences as fit."""
        return self._greedy(self._sentence_costs(len(self.specials.separator)), 0, len(self.corpus.sentences) - 1)

    def _doc_sentences(self) -> IntArray:
        costs = self._sentence_costs(0)
        found = [
            self._greedy(costs, int(first), int(last)) for first, last in itertools.pairwise(self.corpus.documents)
        ]
        return np.concatenate(found) if found else np.zeros((0, 2), np.int64)

    def _sentence_costs(self, separator: int) -> IntArray:
        """(S + 1,) tokens before each sentence; what a border adds is counted with the sentence that begins or ends
        there, a separator with the last one before it."""
        corpus = self.corpus
        added = np.zeros(len(corpus.sentences), dtype=np.int64)
        added[corpus.documents[1:]] += len(self.specials.end) + separator
        added[corpus.documents[:-1] + 1] += len(self.specials.begin)
        return corpus.sentences + np.cumsum(added)

    def _greedy(self, cost: IntArray, first: int, last: int) -> IntArray:
        """(R, 2) token ranges over sentences first .. last - 1; one longer than a sequence is cut."""
        sentences, ranges = self.corpus.sentences, []
        while first < last:
            end = int(np.searchsorted(cost, cost[first] + self._room, "right")) - 1
            end = min(end, last)
            if end <= first:  # one sentence alone is too long
                ranges += self._pieces(sentences[first : first + 1], sentences[first + 1 : first + 2]).tolist()
                end = first + 1
            else:
                ranges.append((int(sentences[first]), int(sentences[end])))
            first = end
        return np.asarray(ranges, dtype=np.int64).reshape(-1, 2)

    def _documents(self) -> IntArray:
        """Every document cut into full sequences and a rest."""
        return self._pieces(self._starts[:-1], self._starts[1:])

    def _pieces(self, starts: IntArray, stops: IntArray) -> IntArray:
        """(R, 2) the ranges starts .. stops - 1, cut to the room; what ends a document has a token before it."""
        begins = self._are_borders(starts) * len(self.specials.begin)
        ends = self._are_borders(stops) * len(self.specials.end)
        counts = -(-(stops - starts + begins + ends) // self._room)
        owner = np.repeat(np.arange(len(starts)), counts)
        index = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        cuts = starts[owner] + index * self._room - begins[owner]
        first = np.where(index == 0, starts[owner], np.minimum(cuts, stops[owner] - 1))
        last = np.append(first[1:], stops[-1:])
        last[index == counts[owner] - 1] = stops
        return np.stack([first, last], axis=1)

    def _are_borders(self, places: IntArray) -> NDArray[np.bool_]:
        return self._starts[np.searchsorted(self._starts, places)] == places

    def _blocks(self) -> IntArray:
        """Full blocks across documents; what stands at borders takes room, and the rest at the end is left out."""
        specials = self.specials
        bare = not (specials.begin or specials.end or specials.separator)
        ranges: list[tuple[int, int]] = []
        first, total = 0, self.corpus.token_count
        while first < total:
            last = min(first + self._room, total)
            if not bare and last - first + self._extra(first, last) > self._room:
                places = range(first + 1, last)
                last = first + bisect_right(places, self._room, key=lambda end: end - first + self._extra(first, end))
            last = max(last, first + 1)
            if last == total and (last - first) < self._room // 2 and ranges:
                break
            ranges.append((first, last))
            first = last
        return np.asarray(ranges, dtype=np.int64).reshape(-1, 2)


def segment_pairs(corpus: TokenCorpus, room: int, rng: np.random.Generator, short_share: float) -> IntArray:
    """(R, 5) pairs of segments with at most `room` tokens together.

    Source: Devlin et al., "BERT" (2019), section 3.1 and appendix A.2, and the authors' `create_pretraining_data`:
    sentences of one document are gathered up to a target length and cut in two at a random sentence; in half of the
    pairs the second part comes from a random other document, and the sentences that it replaced are used again.
    """
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
    """(R, 5) pairs of single sentences (RoBERTa's), cut to `room` tokens together."""
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
