"""Tests of slonik.recipes."""
