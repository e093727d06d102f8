"""Static models: a network distilled into a table of token vectors, whose mean over a text is its vector."""
