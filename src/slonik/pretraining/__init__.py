"""A model from a text file: `slonik pretrain`."""
