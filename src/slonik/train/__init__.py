"""One training loop on Accelerate: loaders, optimizers, checkpoints and resume, processes, the log, cached teachers.

It knows objectives and models only as protocols: what is trained, and for what, is put together in the rooms above.
"""
