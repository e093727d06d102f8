"""HTTP service: a bounded queue and batching in front of encoders, decoders and taggers; OpenAI's routes and /tag.

`create_app(models, settings)` gives an ASGI application, `run(models, settings, ready)` serves it until SIGTERM.
Nothing here imports torch but `decoder` and `tagger`, which are imported only when such a model is served.
"""

from __future__ import annotations

from slonik.serve.app import create_app
from slonik.serve.run import run
from slonik.serve.served import ServedModel
from slonik.serve.settings import ServeSettings

__all__ = ["ServeSettings", "ServedModel", "create_app", "run"]
