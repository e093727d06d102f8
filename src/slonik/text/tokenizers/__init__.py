"""Tokenizers: training, token counts, vocabulary trimming. Works on `tokenizers.Tokenizer`, needs no torch."""
