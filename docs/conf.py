"""Sphinx: the guides and the library's reference as one site with search; `make docs` builds it offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from slonik.core.version import __version__  # noqa: E402

project = "slonik"
author = "the slonik team"
copyright = "the slonik team, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = "slonik"
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "notes_style"), ("Shapes", "notes_style")]

# Pages outside this folder that are pages of the site under other names.
_PAGES = {
    "../README.md": "index.md",
    "../README.ru.md": "index.ru.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "../runs/README.md": "runs.md",
}

# A comment sign or a prompt is not copied with a command.
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True


def setup(app: Any) -> None:
    """Links to files beside this folder lead to their pages on the site."""
    app.connect("source-read", _local_links)
    app.connect("include-read", lambda app, path, parent, content: _local_links(app, parent, content))


def _local_links(app: Any, page: str, content: list[str]) -> None:
    for target, name in _PAGES.items():
        for spelling in (target, target.removeprefix("../")):
            content[0] = content[0].replace(f"]({spelling})", f"]({name})")
