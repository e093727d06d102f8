"""Tests of slonik.data."""
