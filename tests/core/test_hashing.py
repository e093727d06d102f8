"""Hashes depend on content and on nothing else."""

from __future__ import annotations

from slonik.core.hashing import derive_seed, sha256_json, sha256_texts


def test_order_of_keys_does_not_matter_and_borders_of_texts_do() -> None:
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    assert sha256_texts(["ab"]) != sha256_texts(["a", "b"])
    assert sha256_texts(["слон"]) == "fbee40e09805f81697f8aea4a3ff6faa04bdd55375fcd14a874e73be20465417"


def test_seeds_are_separate_streams_that_never_change() -> None:
    assert derive_seed(0, "order", 1) != derive_seed(0, "order", 2) != derive_seed(1, "order", 2)
    assert derive_seed(0, "order", 1) == 2070372274496236081
    assert 0 <= derive_seed(7, "x") < 1 << 63
