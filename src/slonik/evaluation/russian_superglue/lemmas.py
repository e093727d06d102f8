"""Lemmas of Russian words for the rule-based baseline: pymorphy2, which natasha carries; else the words themselves.

The published rules were made with pymorphy2's first parse. No part of speech, no disambiguation.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any


@cache
def lemmatizer() -> tuple[str, Callable[[str], str]]:
    """Name of the analyser ("pymorphy2", or "none" where it is not installed), and word -> lemma in lower case."""
    try:
        pymorphy2, dictionary = (importlib.import_module(name) for name in ("pymorphy2", "pymorphy2_dicts_ru"))
    except ModuleNotFoundError:
        return "none", str.lower
    module: Any = inspect
    lacking = not hasattr(module, "getargspec")
    if lacking:  # pymorphy2 0.9 asks for it while it is being built; Python 3.11 no longer has it
        module.getargspec = lambda function: inspect.getfullargspec(function)[:4]
    try:
        analyzer = pymorphy2.MorphAnalyzer(path=dictionary.get_path())
    finally:
        if lacking:
            del module.getargspec

    @lru_cache(maxsize=200_000)
    def lemma(word: str) -> str:
        return str(analyzer.parse(word)[0].normal_form)

    return "pymorphy2", lemma
