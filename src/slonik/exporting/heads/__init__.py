"""Export of models with heads: classifiers, rerankers, multiple choice, span answers, taggers; held to torch's labels.

The encoder below a head goes through the passes of every export (`slonik.exporting`); what is different is here: graphs
with more inputs and other outputs, texts that suit a task, agreement of labels, and what the folder says of the head.
"""
