"""A model from a text file: `slonik pretrain`; trained on with the texts of a domain: `slonik adapt`.

Read `pretrain` first: it calls, in this order, `tokenizer`, `corpus` (`shards`), `batches` (`sequences`, `objectives`,
`denoising`), the loop of `slonik.train`, and `bits_per_byte`.
"""
