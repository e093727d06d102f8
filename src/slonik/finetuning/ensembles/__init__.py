"""Combining the answers of several models: means, votes, selection, stacking; how different they are; what it gains."""
