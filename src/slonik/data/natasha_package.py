"""Files that the Python package natasha carries (MIT): navec word vectors, slovnet's models of Russian news.

Only its files are used: natasha's own requirements (pymorphy2 with DAWG-Python) put a second `dawg_python` beside the
one that pymorphy3 brings. So no extra names it, and it is installed without its requirements. Nothing here imports it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from slonik.core.errors import MissingExtra, SlonikError

INSTALL = "pip install --no-deps 'natasha==1.6.0'"
NAVEC = "emb/navec_news_v1_1B_250K_300d_100q.tar"
MORPHOLOGY = "model/slovnet_morph_news_v1.tar"
NER = "model/slovnet_ner_news_v1.tar"
SYNTAX = "model/slovnet_syntax_news_v1.tar"


def natasha_file(name: str, feature: str) -> Path:
    """The file `name` (one of those above) in the installed natasha.

    Args:
        feature: what needs it, for the sentence.

    Raises:
        MissingExtra: navec, slovnet or razdel is missing.
        SlonikError: natasha is not installed, or has another layout.
    """
    for package in ("navec", "slovnet", "razdel"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(feature, "russian", package)
    spec = importlib.util.find_spec("natasha")
    if spec is None or not spec.submodule_search_locations:
        raise SlonikError(f"{feature} needs files that the package natasha carries: {INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    if not path.is_file():
        raise SlonikError(f"{feature} needs the file {name}, which the installed natasha does not have: {INSTALL}")
    return path


def has_natasha() -> bool:
    """Whether the files are there."""
    return importlib.util.find_spec("natasha") is not None
