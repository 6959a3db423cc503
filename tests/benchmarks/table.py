"""Make the README's table: `python -m tests.benchmarks.table speed.json`."""

import json
import sys
from pathlib import Path
from typing import Any


def table(report: dict[str, Any]) -> str:
    """Return the Markdown table of a pytest-benchmark report."""
    lines = ["| work | against | mark | measured |", "|---|---|---|---|"]
    for entry in report["benchmarks"]:
        info = entry["extra_info"]
        ratio = f"{info['ratio']:.2f} of its time" if "of its time" in info["mark"] else f"{info['ratio']:.1f}x"
        lines.append(f"| {info['work']} | {info['rival']} | {info['mark']} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))  # noqa: T201
