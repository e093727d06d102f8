"""What a model is trained for: `corrupt(ids, rng)` makes a batch, `loss(model, batch)` scores the model on it.

One file per term. The terms are pure functions of tensors; the classes put them together. Nothing here reads
a corpus, steps an optimizer or knows which model family it is given.
"""
