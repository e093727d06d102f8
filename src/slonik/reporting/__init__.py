"""Tables, plots, pages and model cards from result records. Reads result files only: it runs and loads no model.

Public functions live in their own modules and are imported from there: `compression.compression` (the report of
one compression), `collect.collect` (result files and run folders), `model_card.model_card`.
"""
