"""Retrieval and reranking on sets in the form of BEIR: nDCG, MRR and recall with intervals, paired, baselines beside.

What ranks is in `rankers` (encoders, BM25, chance, rankings in files, cross-encoders over a first stage); the protocol
and the tables are the suite's.
"""
