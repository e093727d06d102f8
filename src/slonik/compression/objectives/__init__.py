"""Distillation: the terms that make a small encoder agree with a large one."""
