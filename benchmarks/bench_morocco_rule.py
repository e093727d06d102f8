"""Our reading of MOROCCO's rule on its published logs, beside the framework's own table for RuBERT.

python benchmarks/bench_morocco_rule.py DATA/morocco_logs
"""

from __future__ import annotations

import sys

from slonik.evaluation.resources.morocco import score

# Records per second of RuBERT in the framework's README.
FRAMEWORK = {"danetqa": 113.0, "terra": 276.5, "rwsd": 98.6, "russe": 209.7, "rucos": 8.9}


def main() -> None:
    """Print a Markdown table."""
    print("| task | rule on the logs | framework's table | difference |\n|---|---:|---:|---:|")
    for record in score(sys.argv[1]):
        if record.model == "rubert" and record.metric == "rps" and record.task in FRAMEWORK and record.value:
            theirs = FRAMEWORK[record.task]
            print(
                f"| {record.task} | {record.value:.1f} [{record.low:.1f}, {record.high:.1f}] | {theirs:.1f} "
                f"| {theirs / record.value - 1:+.1%} |"
            )


if __name__ == "__main__":
    main()
