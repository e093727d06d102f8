"""A server of a toy encoder as a process of its own: `python -m tests.serving.toy_server [SECONDS_PER_TEXT [PORT]]`.

Prints its URL on a line when it listens.
"""

from __future__ import annotations

import sys

from slonik.serving import ServedModel, ServeSettings, run
from tests.serving.models import WordEncoder

if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    run(
        [ServedModel("toy", WordEncoder("toy", seconds))],
        ServeSettings(port=port),
        lambda url: print(url, flush=True),
    )
