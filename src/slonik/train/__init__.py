"""One training loop on Accelerate: schedules, checkpoints and resume, metrics log, cached teachers.

It knows objectives and models only as protocols: what is trained, and for what, is put together by recipes.
"""
