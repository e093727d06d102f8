"""Tables, plots, pages and model cards from result records. Reads result files only: it runs and loads no model.

`table` is the one table type and `formatting` how values are written; `scores` and `resources` make tables of records,
`trade_offs` and `plots` pictures, `page` and `model_card` documents, `overview` what `slonik report` shows.
"""
