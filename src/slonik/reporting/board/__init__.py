"""The board: one static site from result records, passports, published rows and what others report, of many models.

`reading` takes files in, `spreadsheet` tables of others; `apart` keeps figures of other items, other weights and other
people from standing in one column or row; `tables` makes columns and `cells`, `ranks` and `standings` say who can be
told from whom; `models` is what is known of each model; `site` packs all that into one page that opens without a
server; `submissions` checks what third parties hand in. Reads files only: it runs and loads no model.
"""
