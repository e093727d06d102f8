"""Words of texts to spans, without torch: words and windows, numbers of labels, the chain, the list of names.

What a network says of each word comes from elsewhere: an ONNX file (`onnx_tagger`), or torch (`slonik.tagging.models`).
"""
