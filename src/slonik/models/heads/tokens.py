"""One label per word: a linear layer over the hidden state of a word's first token, with or without a CRF.

The head gives scores of labels (emissions); reading label sequences out of them is the chain's (`head.crf`). Which
token is a word's first is in the batch; windows and words are made in the taggers.

Shapes: B sequences, T tokens, W words, D dimensions, L labels.
"""

from __future__ import annotations

from slonik.models.heads.crf import LinearChainCrf
from slonik.models.modeling_slonik_heads import TokenScores

POSITIONS = "positions"


class TokenHead(TokenScores):
    """Scores of words, `TokenScores`, with the chain that reads them.

    Args:
        dimension: D of the hidden states.
        outputs: L, numbered as in `BioLabels`.
        crf: learn scores of label transitions too; otherwise labels are independent but for the BIO rules.
        dropout, layers, names: as `TokenScores` has them.
    """

    def __init__(
        self,
        dimension: int,
        outputs: int,
        *,
        crf: bool = False,
        dropout: float = 0.1,
        layers: int = 0,
        names: bool = False,
    ) -> None:
        super().__init__(dimension, outputs, dropout=dropout, layers=layers, names=names)
        self.crf = LinearChainCrf(outputs, trainable=crf)
