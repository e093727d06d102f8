"""HTTP service: a bounded queue and batching in front of encoders, decoders and taggers; OpenAI's routes and /tag.

`create_app(models, settings)` gives an ASGI application, `run(models, settings, ready)` serves it until SIGTERM.
Nothing here imports torch but `decoder` and `tagger`, which are imported only when such a model is served.
"""

from __future__ import annotations

from slonik.serving.app import create_app
from slonik.serving.run import run
from slonik.serving.served import ServedModel
from slonik.serving.settings import ServeSettings

__all__ = ["ServeSettings", "ServedModel", "create_app", "run"]
