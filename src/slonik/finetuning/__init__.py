"""Task models from any checkpoint: `slonik finetune` and `slonik predict`, Russian SuperGLUE or the user's own data."""
