"""RuSentEval: what every layer of a model knows about a sentence, with baselines, control tasks and intervals.

`run` is the whole of it. Tasks of sentences are read by `tasks`, of words by `words`, trees by `trees`; vectors of
layers are encoded and the best layer found by `layers`, words' by `word_vectors`. Probes are fitted by `probes`, their
description lengths taken by `codelength`, their controls made by `control`; all of it is measured by `scores`, compared
with `baselines` and shown by `report`. `builder` makes the tasks from treebanks or text: `labels` says what a sentence
is labelled, `selection` which sentences are taken, `annotator` parses plain text.
"""
