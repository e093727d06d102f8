"""A model as a Python distribution that others install: one file of weights for onnxruntime and torch, and its card."""
