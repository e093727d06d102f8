"""Measuring models: encodechka, Russian SuperGLUE, speed and memory, and the statistics that compare two of them.

What a suite takes and gives is in `suite`; nothing is trained here but the suites' own classifiers and baselines.
"""
