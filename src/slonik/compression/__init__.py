"""A checkpoint goes in, a much smaller one comes out: trimming, cutting, distillation, and the proof of what it cost.

Read `compress` first: it calls, in this order, `corpus`, `trim`, `pruning` (`importance`, `criteria`, `choose`,
`surgery`), `distill` (`training_texts`, `objective`), `measure` and `report`.
"""
