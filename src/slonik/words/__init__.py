"""Words and their vectors: the picture of meaning, and what it is worth.

`opening` gets vectors of words from any model; `questions` asks for neighbours, analogies and the odd one out;
`measuring` scores them on lists that people have judged; `ask` is the library's function for all of these; `train`
makes vectors from a corpus; `map` puts words and sentences on a plane and on a page.
"""
