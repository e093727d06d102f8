"""Rerankers and retrievers from the user's own queries and documents: `slonik finetune MODEL --task rerank`.

A cross-encoder reads query and document together and gives one number; a bi-encoder gives each a vector. Which data
they learn from is read by `slonik.data.rankings`; measuring on a whole corpus is `slonik evaluate retrieval`.
"""
