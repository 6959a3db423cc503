"""Make the README's table: `python -m tests.benchmarks.table speed.json`."""

import json
import sys
from pathlib import Path
from typing import Any

GPU = {  # what waits for a report from a machine with one
    "augmented float batches, GPU": ("Pillow decode + transforms.v2 on each of the same crops", "20x"),
    "`fit` step, ResNet-18 at 224, batch 32, GPU": ("a bare PyTorch loop, data in memory", "at most 1.05x its time"),
}


def table(report: dict[str, Any]) -> str:
    """Return the Markdown table of a pytest-benchmark report."""
    lines = ["| work | baseline | required | measured |", "|---|---|---|---|"]
    for entry in report["benchmarks"]:
        info = entry["extra_info"]
        lines.append(f"| {info['work']} | {info['rival']} | {info['mark']} | {_measured(info)} |")
    measured = {entry["extra_info"]["work"] for entry in report["benchmarks"] if entry["extra_info"]}
    lines += [f"| {work} | {rival} | {mark} | not run |" for work, (rival, mark) in GPU.items() if work not in measured]
    return "\n".join(lines)


def _measured(info: dict[str, Any]) -> str:
    """Say what was measured: a ratio, or what the benchmark itself has put into words."""
    if "said" in info:
        return str(info["said"])
    return f"{info['ratio']:.2f}x its time" if "x its time" in info["mark"] else f"{info['ratio']:.1f}x"


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))  # noqa: T201
