"""Weights of slonik-mini-ru 0.1.0: slonik.load("embedded:slonik-mini-ru") opens them; there is no code here."""

__version__ = "0.1.0"
