"""What a model is trained for: `loss(model, batch)` scores it; on bare texts `corrupt(ids, rng)` makes the batch.

One file per term. The terms are pure functions of tensors; the classes put them together. Nothing here reads
a corpus, steps an optimizer or knows which model family it is given.
"""
