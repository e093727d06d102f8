"""The main job on what registry packages carry: an embedded model, gettext translations, a few minutes of training.

Leaves a usable small model. The corpus is interface text of programs, so the student is good at such text and only
fair elsewhere; the recipes under `recipes/` make better ones from real corpora.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slonik.compression.pipeline.compress import Compression, compress, work_folder
from slonik.compression.pipeline.config import CompressConfig, CorpusConfig, DistillConfig, PruneConfig, TrimConfig
from slonik.compression.pipeline.demo_corpus import demo_pairs, installed_catalogues
from slonik.core.atomic import write_text

MODEL = "embedded:multilingual-e5-small"
_STEPS = 260


def demo_config(out: Path, *, steps: int = _STEPS) -> CompressConfig:
    """The demo's configuration; its corpus files are written beside `out` by `write_corpus`."""
    folder = _corpus_folder(out)
    return CompressConfig(
        model=MODEL,
        out=str(out),
        corpus=CorpusConfig(
            texts=(str(folder / "russian.txt"),),
            pairs=(str(folder / "pairs.tsv"),),
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


def write_corpus(out: Path) -> dict[str, object]:
    """Write the demo's texts and pairs beside `out`; the summary names packages, licences and counts.

    Raises:
        MissingExtra: none of the packages with translations is installed.
    """
    folder = _corpus_folder(out)
    pairs = demo_pairs(min_words=1)
    rows = [(_line(english), _line(russian)) for english, russian in pairs]
    write_text(folder / "russian.txt", "".join(f"{russian}\n" for _, russian in rows))
    write_text(folder / "pairs.tsv", "".join(f"{english}\t{russian}\n" for english, russian in rows))
    packages = {package.name: package.licence for package in installed_catalogues()}
    return {"packages": packages, "pairs": len(rows)}


def demo(out: Path, announce: Callable[[str], None] = lambda line: None, *, steps: int = _STEPS) -> Compression:
    """Run the demo; see `compress`."""
    found = write_corpus(out)
    packages = found["packages"]
    assert isinstance(packages, dict)
    names = ", ".join(f"{name} ({licence})" for name, licence in packages.items())
    announce(f"{found['pairs']} translated messages from {names}")
    return compress(demo_config(out, steps=steps), announce)


def _corpus_folder(out: Path) -> Path:
    return work_folder(out) / "demo-corpus"


def _line(text: str) -> str:
    return " ".join(text.split())
