"""Texts with labelled spans: types, words and tags, and the formats they are kept in.

`document` has the types and makes flat, relabelled copies, `tags` goes between spans and BIO or BIOES tags of words
with exact offsets, `formats` reads and writes them all. Nothing here trains or scores.
"""
