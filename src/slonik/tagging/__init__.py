"""Taggers of named entities: how they are made, trained, distilled, measured, used and told, all in this folder.

Use: `tag` (texts to spans; `slonik tag`). Train: `train` (one tagger; `slonik finetune --task ner`), `ladder` and
`study` (many systems, by folds; `slonik study ner`); both by `fit` (one training), with `objective` (examples, loss),
`distillation` (soft labels of a teacher), `config` (what can be set) and `data` (annotated documents). Measure:
`evaluate` (`slonik evaluate ner`), by `matching` (mistakes and counts), `metrics` (records with intervals), `report`
(tables, page of errors) and `tasks` (public collections). The kinds of taggers, a file each, are in `models`; what a
tagger is to the code that uses it, in `slonik.data.annotations.document.Tagger`; the server's side in `slonik.serving`.
"""
