"""What a server is told when it starts: where it listens, who may call, and how much it takes on.

Only the fields of the command line are meant to be changed by users; the others are limits that keep memory
bounded, and tests lower them.
"""

from __future__ import annotations

from pydantic import Field

from slonik.core.config import Config
from slonik.core.protocols import LongTexts


class ServeSettings(Config):
    """Settings of one server.

    Attributes:
        host: address to listen on; loopback unless told otherwise.
        port: TCP port; 0 = any free one.
        api_key: what clients must send as `Authorization: Bearer KEY`; None = no key needed.
        max_batch_tokens: the most tokens (texts x longest) of one pass through a model.
        max_queue: texts that may wait per model; more are answered 429 at once.
        threads: processors that each model may use; None = all that this process may.
        long_texts: what happens to texts that are too long where a request does not say; None = the model's own way.
        max_body_bytes: the largest request body, unpacked; a larger one is refused while it arrives.
        body_seconds: how long a client may take to send its body.
        shutdown_seconds: how long SIGTERM waits for what is running.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_key: str | None = Field(default=None, min_length=1, repr=False)
    max_batch_tokens: int = Field(default=2048, ge=1)
    max_queue: int = Field(default=1024, ge=1)
    threads: int | None = Field(default=None, ge=1)
    long_texts: LongTexts | None = None
    max_body_bytes: int = Field(default=8 * 2**20, ge=1)
    body_seconds: float = Field(default=30.0, gt=0)
    shutdown_seconds: int = Field(default=60, ge=1)
