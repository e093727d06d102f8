"""RuSentEval: what every layer of a model knows about a sentence, with baselines, control tasks and intervals.

`run` is the whole of it: tasks are read by `tasks`, vectors of layers encoded and the best layer found by `layers`,
probes fitted by `probes`, compared with `baselines`, and shown by `report`. `builder` makes the tasks from treebanks or
text: `labels` says what a sentence is labelled, `selection` which sentences are taken, `annotator` parses plain text.
"""
