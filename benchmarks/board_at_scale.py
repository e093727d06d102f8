"""How fast the board is with 2,000 models and 200,000 figures: written, opened and sorted in Chromium.

    python benchmarks/board_at_scale.py [--models 2000 --tasks 100] [--out FOLDER] [--json FILE]

Figures are drawn at random with intervals of random width. Opening is from the page's script to the drawn table, and
from the start of navigation to it (parsing of the page included); sorting is the time until the new order is drawn, the
median over columns. Needs Debian's chromium and chromium-driver, and selenium.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import Browser

from slonik.core.records import Record
from slonik.reporting.board.reading import Found, add_records
from slonik.reporting.board.site import write_site


def generated(models: int, tasks: int, seed: int = 0) -> list[Record]:
    """A record for each model and task, in four suites."""
    rng = np.random.default_rng(seed)
    level, hard = rng.normal(0, 0.06, models), rng.uniform(0.3, 0.8, tasks)
    values = np.clip(hard + level[:, None] + rng.normal(0, 0.03, (models, tasks)), 0, 1)
    widths = rng.uniform(0.005, 0.03, (models, tasks))
    suites = ("encodechka", "mteb", "retrieval", "probing")
    return [
        Record(
            suite=suites[task * len(suites) // tasks], task=f"task{task}", model=f"lab{model % 97}/model-{model}",
            metric="accuracy", value=float(values[model, task]), low=float(values[model, task] - widths[model, task]),
            high=float(values[model, task] + widths[model, task]), n=1000, seed=0,
            detail={"pooling": "mean"}, hashes={"data": f"{task:064x}", "weights": f"{model:064x}"},
        )
        for model in range(models)
        for task in range(tasks)
    ]  # fmt: skip


_OPENED = "document.documentElement.dataset.openMs"
_SORT = """
const done = arguments[arguments.length - 1], heads = document.querySelectorAll('.grid thead button');
const head = heads[arguments[0] % heads.length], began = performance.now();
head.click();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
"""


def measured(page: Path, rounds: int = 5) -> dict[str, object]:
    """Milliseconds of opening (script, and whole) and of sorting, in a browser with an empty profile."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            opened, whole, sorts, scripts = [], [], [], []
            for _ in range(rounds):
                browser.open(page)
                opened.append(float(browser.wait(_OPENED)))
                whole.append(float(browser.run("return performance.now()")))
                for place in range(1, 8):
                    sorts.append(browser.driver.execute_async_script(_SORT, place))
                    scripts.append(float(browser.run("return document.querySelector('.grid').dataset.sortMs || 0")))
            return {
                "open_ms": statistics.median(opened), "navigation_to_table_ms": statistics.median(whole),
                "sort_to_frame_ms": statistics.median(sorts), "sort_script_ms": statistics.median(scripts),
                "errors": browser.errors(), "requests": browser.requests(),
            }  # fmt: skip
        finally:
            browser.close()


def main() -> None:
    """Generate, write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "site"
        records = generated(options.models, options.tasks)
        began = time.perf_counter()
        found = Found()
        add_records(found, records, "generated")
        written = write_site(found, out, overwrite=True)
        seconds = time.perf_counter() - began
        page = out / "index.html"
        told = {
            "models": written.models, "figures": written.figures, "write_s": round(seconds, 1),
            "bytes": page.stat().st_size, **measured(page),
        }  # fmt: skip
    print(json.dumps(told, indent=1))
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
