"""A small treebank whose labels hang on its words: adjective, noun, verb, noun, with cases by endings."""

from __future__ import annotations

import random
from pathlib import Path


def write_treebank(path: Path, count: int = 150, seed: int = 0) -> Path:
    """Write `count` sentences of four to seven words."""
    rng = random.Random(seed)
    blocks = []
    for number in range(count):
        case = rng.choice(["Acc", "Ins", "Dat"])
        ending = {"Acc": "у", "Ins": "ой", "Dat": "ам"}[case]
        rows = [
            ("старый", "ADJ", 2, "amod", "Case=Nom"),
            (f"слон{rng.randrange(9)}", "NOUN", 3, "nsubj", "Case=Nom"),
            (f"видит{rng.randrange(9)}", "VERB", 0, "root", "Mood=Ind|VerbForm=Fin"),
            (f"гор{rng.randrange(9)}{ending}", "NOUN", 3, "obj", f"Case={case}"),
        ]
        rows += [(f"там{number}", "ADV", 3, "advmod", "_")] * rng.randrange(0, 3) + [(".", "PUNCT", 3, "punct", "_")]
        lines = [f"{at}\t{form}\t{form}\t{upos}\t_\t{feats}\t{head}\t{relation}\t_\t_"
                 for at, (form, upos, head, relation, feats) in enumerate(rows, 1)]  # fmt: skip
        blocks.append("\n".join(lines))
    path.write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")
    return path
