"""A Dockerfile that serves an exported folder without torch. Written, not built.

The image takes slonik from a wheel in the same folder where there is one (made from a checkout), else from the
package registry.
"""

from __future__ import annotations

from pathlib import Path

from slonik.core.atomic import write_text
from slonik.core.version import __version__

_TEMPLATE = """\
# Serves the model in this folder: docker build -t my-encoder . && docker run -p 8000:8000 my-encoder
# slonik from a checkout, not from the registry: first, here, pip wheel --no-deps --wheel-dir . CHECKOUT
FROM python:3.11-slim

# tokenizer.json is always there: COPY needs one file that is, the wheel may be missing
COPY tokenizer.json slonik-{version}-*.whl /tmp/wheels/
RUN pip install --no-cache-dir --find-links /tmp/wheels "slonik[serve]=={version}"
RUN useradd --create-home --uid 10001 slonik

WORKDIR /model
COPY --chown=slonik:slonik . /model

USER slonik
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=20s \\
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
CMD ["slonik", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
"""
_IGNORED = "Dockerfile\n.dockerignore\n"


def write_dockerfile(folder: Path) -> None:
    """Write `Dockerfile` and `.dockerignore` into `folder`."""
    write_text(folder / "Dockerfile", _TEMPLATE.format(version=__version__))
    write_text(folder / ".dockerignore", _IGNORED)
