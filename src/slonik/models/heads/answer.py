"""Where an answer begins and ends in a text: span question answering as in SQuAD.

Sources: Rajpurkar et al. 2016; Devlin et al. 2019, section 4.2. The first token stands for "no answer" (SQuAD 2.0).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

NO_PLACE = -1e4


class AnswerHead(nn.Module):
    """Logits of the first and last token of the answer.

    Args:
        dimension: D of the encoder.
        outputs: 2.
        dropout: on the token vectors.
    """

    def __init__(self, dimension: int, outputs: int = 2, *, dropout: float = 0.1) -> None:
        super().__init__()
        if outputs != 2:
            raise TypeError(f"an answer has a first and a last token, not {outputs} outputs")
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(dimension, 2)

    def forward(self, hidden: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, T, D) -> (B, 2, T); NO_PLACE outside the second text (the context), the first token excepted."""
        logits: Tensor = self.output(self.dropout(hidden.float())).transpose(1, 2)
        allowed = batch["segments"] == 2
        allowed = allowed.clone()
        allowed[:, 0] = True
        return logits.masked_fill(~allowed.unsqueeze(1), NO_PLACE)
