"""Texts with labelled spans: types, words, tags, and the formats they are kept in.

`document` has the types, `words` splits a text with exact offsets, `tags` goes between spans and BIO or BIOES tags,
`overlaps` and `mapping` make flat, relabelled copies, `folds` divides documents. Nothing here trains or scores.
"""
