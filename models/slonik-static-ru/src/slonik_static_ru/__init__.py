"""Weights of slonik-static-ru 0.1.0: slonik.load("embedded:slonik-static-ru") opens them; there is no code here."""

__version__ = "0.1.0"
