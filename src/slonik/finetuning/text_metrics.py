"""Metrics of written texts: ROUGE by rouge-score, BLEU and chrF by sacrebleu, as statistics that can be resampled.

rouge-score's own tokenizer drops every letter but a to z, so that two equal Russian texts have ROUGE 0: words are cut
here. Values are fractions, never percentages. Without these packages (the extra `text-metrics`) ROUGE-L is computed
here, equal to theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.progress import warn_once
from slonik.evaluation.statistics import Mean, Statistic

_WORD = re.compile(r"\w+")
_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, lower case, ё as е."""
    return _WORD.findall(text.lower().replace("ё", "е"))


class _Words:
    """The tokenizer that rouge-score is given."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def rouge(pairs: Sequence[tuple[str, str]]) -> dict[str, list[float]]:
    """ROUGE-1, ROUGE-2 and ROUGE-L as F1 (Lin 2004) of each pair of a given and a right text, in fractions.

    Raises:
        ModuleNotFoundError: rouge-score is not installed.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(_ROUGE.values()), tokenizer=_Words())
    found = [scorer.score(right, given) for given, right in pairs]
    values = {name: [float(one[own].fmeasure) for one in found] for name, own in _ROUGE.items()}
    for place, (given, right) in enumerate(pairs):
        if not words(given) and not words(right):  # nothing was wanted, and nothing said
            for row in values.values():
                row[place] = 1.0
    return values


def rouge_l(given: str, right: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, beta = 1): what `rouge` gives, without a package."""
    first, second = words(given), words(right)
    if not first or not second:
        return float(first == second)
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            kept = row[place]
            row[place] = before + 1 if word == other else max(row[place], row[place - 1])
            before = kept
    return 2 * row[-1] / (len(first) + len(second))


class CorpusScore:
    """A metric of sacrebleu over a corpus, from the counts that it takes of each text.

    Args:
        metric: `BLEU()` or `CHRF()`, as sacrebleu has them by default.
        pairs: given and right texts.
    """

    def __init__(self, metric: Any, pairs: Sequence[tuple[str, str]]) -> None:
        self._metric = metric
        given, right = [one for one, _ in pairs], [other for _, other in pairs]
        self._counts = np.array(metric._extract_corpus_statistics(given, [right]), dtype=np.float64)
        self.n = len(pairs)

    def resampled(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (B,) of 0 to 1 for counts (B, n)."""
        sums = np.rint(counts @ self._counts).astype(np.int64)
        return np.array([self._metric._compute_score_from_stats(row.tolist()).score / 100 for row in sums])


def written_metrics(pairs: Sequence[tuple[str, str]]) -> Mapping[str, Statistic]:
    """ROUGE-L, ROUGE-1, ROUGE-2, chrF and BLEU of given and right texts; without the extra ROUGE-L, which is said."""
    try:
        from sacrebleu.metrics import BLEU, CHRF

        found = rouge(pairs)
    except ModuleNotFoundError as error:
        warn_once(
            f"without {error.name} there is no ROUGE-1, ROUGE-2, chrF and BLEU: pip install 'slonik[text-metrics]'"
        )
        return {"rouge_l": Mean([rouge_l(given, right) for given, right in pairs])}
    corpus = {"chrf": CorpusScore(CHRF(), pairs), "bleu": CorpusScore(BLEU(), pairs)}
    return {name: Mean(found[name]) for name in ("rouge_l", "rouge_1", "rouge_2")} | corpus
