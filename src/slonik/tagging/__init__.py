"""Taggers of named entities: `slonik finetune --task ner`, and the ladder of `slonik study ner`."""
