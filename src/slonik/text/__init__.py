"""Texts before any model: lines, tokenising and padding, sentence pipelines, tasks, tokenizers. No torch."""

TASK_FILE = "task.json"
TAGGER_FILE = "tagger.json"
"""Names that every room knows: what a checkpoint folder with a head, and one of a tagger, has in it."""
