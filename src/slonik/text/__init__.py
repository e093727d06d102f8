"""Texts before any model: lines, tokenising and padding, sentence pipelines, tokenizers. No torch."""
