"""Corpora of any size, prepared by many workers: clean, compare, set aside, tokenise.

Read `prepare` first: it cuts the corpus into `parts`, writes the `plan`, and has `slonik.scaling.engines` run `blocks`,
which leave their files in a `store`.
"""
