"""How a smaller vocabulary cuts held-out texts, beside the one it came from.

Does: count texts that are cut exactly as before, tokens and unknown pieces, by the script of the text.
Does not: judge what that costs a model (evaluate the trimmed checkpoint for that).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from tokenizers import Tokenizer

from slonik.text.tokenizers.counts import plain_copy, token_ids
from slonik.text.tokenizers.scripts import main_script
from slonik.text.tokenizers.vocabulary import read_vocabulary


class CutComparison(BaseModel):
    """What became of some texts.

    Attributes:
        texts: how many there were.
        identical: how many are cut into the same pieces as before.
        tokens_before, tokens_after: how many tokens they have, special tokens left out.
        unknown_before, unknown_after: how many of these tokens are unknown pieces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    identical: int
    tokens_before: int
    tokens_after: int
    unknown_before: int
    unknown_after: int

    @property
    def identical_share(self) -> float:
        """Share of texts cut as before, 1 when there is no text."""
        return self.identical / self.texts if self.texts else 1.0

    @property
    def token_growth(self) -> float:
        """Growth of the number of tokens: 0.02 is two per cent more."""
        return self.tokens_after / self.tokens_before - 1 if self.tokens_before else 0.0

    @property
    def unknown_rate_before(self) -> float:
        """Share of unknown pieces among the old tokens."""
        return self.unknown_before / max(self.tokens_before, 1)

    @property
    def unknown_rate_after(self) -> float:
        """Share of unknown pieces among the new tokens."""
        return self.unknown_after / max(self.tokens_after, 1)


def compare_cuts(
    before: Tokenizer, after: Tokenizer, kept_ids: Sequence[int], texts: Sequence[str]
) -> dict[str, CutComparison]:
    """Compare two tokenizers on `texts`: the key `all`, then one key for each main script of a text.

    kept_ids: new id -> old id.
    """
    old_ids = np.asarray(kept_ids, dtype=np.int64)
    unknown_old, unknown_new = read_vocabulary(before).unknown, read_vocabulary(after).unknown
    cut_before = token_ids(plain_copy(before), texts)
    cut_after = token_ids(plain_copy(after), texts)
    sums: dict[str, np.ndarray] = {"all": np.zeros(6, dtype=np.int64)}
    for text, old, new in zip(texts, cut_before, cut_after, strict=True):
        same = len(old) == len(new) and old == old_ids[new].tolist()
        row = (1, same, len(old), len(new), old.count(unknown_old), new.count(unknown_new))  # type: ignore[arg-type]
        for name in ("all", main_script(text)):
            sums[name] = sums.get(name, np.zeros(6, dtype=np.int64)) + np.asarray(row, dtype=np.int64)
    names = tuple(CutComparison.model_fields)
    return {key: CutComparison(**dict(zip(names, map(int, row), strict=True))) for key, row in sums.items()}
