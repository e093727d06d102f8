"""Corpora: readers, translation pairs, samples, and benchmark data. Imports nothing heavy."""
