"""Tests of slonik.tokenizers."""
