"""Help on narrow terminals: names of options are never cut ("--target-paramete…"), the text beside them wraps instead.

typer lays help out as one table per panel and lets every column shrink; it has no setting for that, but its renderer
takes the table's class from its own module.
"""

from __future__ import annotations

from typing import Any

_WRAPS = 2  # the last columns: type and text


def keep_names_whole() -> None:
    """Have typer's tables of options shrink the columns of types and texts alone."""
    from rich.table import Table
    from typer import rich_utils

    class Options(Table):
        """A table whose columns but the last two keep their width."""

        def __rich_measure__(self, console: Any, options: Any) -> Any:
            self._keep()
            return super().__rich_measure__(console, options)

        def __rich_console__(self, console: Any, options: Any) -> Any:
            self._keep()
            return super().__rich_console__(console, options)

        def _keep(self) -> None:
            for column in self.columns[:-_WRAPS]:
                column.no_wrap = True
            for column in self.columns[-_WRAPS:]:
                column.overflow = "fold"

    if getattr(rich_utils, "Table", None) is Table:
        rich_utils.Table = Options  # type: ignore[misc]
