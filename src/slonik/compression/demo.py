"""The main job on what registry packages carry: an embedded model, gettext translations, a few minutes of training.

Leaves a usable small model. The corpus is interface text of programs, translated by people
(`slonik.data.catalogues`), so the student is good at such text and only fair elsewhere; the recipes under `recipes/`
make better ones from real corpora.
Does not: install anything (`pip install 'slonik[demo]'` does), or use the network.
"""

from __future__ import annotations

from pathlib import Path

from slonik.compression.compress import Compression, run_compress
from slonik.compression.config import CompressConfig, CorpusConfig, DistillConfig, PruneConfig, TrimConfig
from slonik.core.run import Announce, silent
from slonik.data.catalogues import demo_pairs, installed_catalogues
from slonik.data.given import Given

MODEL = "embedded:multilingual-e5-small"
_STEPS = 260


def demo(out: str | Path, announce: Announce = silent, *, steps: int = _STEPS) -> Compression:
    """Run the demo; see `compress`.

    Args:
        out: folder for the small model.
        announce: called with one line for the user as steps begin and end.
        steps: of training; fewer are faster and worse.

    Raises:
        MissingExtra: none of the packages with translations is installed.
    """
    given = Given(out)
    pairs = [(_line(english), _line(russian)) for english, russian in demo_pairs()]
    names = ", ".join(f"{package.name} ({package.licence})" for package in installed_catalogues())
    announce(f"{len(pairs)} translated messages from {names}")
    config = CompressConfig(
        model=MODEL,
        out=str(out),
        corpus=CorpusConfig(
            texts=given.texts("russian", [russian for _, russian in pairs]),
            pairs=given.pairs("pairs", pairs),
            train_texts=6_000,
            train_pairs=2_000,
            held_out_texts=300,
            held_out_pairs=300,
            held_out_share=0.06,
        ),
        trim=TrimConfig(min_count=1, max_pieces=36_000),
        prune=PruneConfig(keep_layers=(1, 3, 5, 7, 9, 11), texts=256),
        distill=DistillConfig(max_steps=steps, batch_tokens=1024, evaluations=4),
        evaluate=False,
    )
    more = f" --steps {steps}" if steps != _STEPS else ""
    return run_compress(config, announce, given=given, command=f"slonik demo --out {out}{more}")


def _line(text: str) -> str:
    return " ".join(text.split())
