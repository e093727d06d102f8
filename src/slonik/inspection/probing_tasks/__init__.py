"""Probing tasks made from treebanks, or from text annotated automatically, in RuSentEval's file format."""
