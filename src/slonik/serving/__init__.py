"""HTTP service: a bounded queue and batching in front of encoders, classifiers, taggers and decoders.

The routes are OpenAI's, those of other servers for classifiers and rerankers, and /tag. `create_app(models, settings)`
gives an ASGI application, `run(models, settings, ready)` serves it until SIGTERM. Nothing here imports torch: models
come opened, and are known by their protocols alone.
"""

from __future__ import annotations

from slonik.serving.app import create_app
from slonik.serving.run import run
from slonik.serving.served import ServedModel
from slonik.serving.settings import ServeSettings

__all__ = ["ServeSettings", "ServedModel", "create_app", "run"]
