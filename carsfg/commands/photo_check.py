"""The table that `carsfg data check` prints for photos of one's own."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from carsfg.data.photo_check import PhotoCheck

NAMED = 5  # pairs and classes that are listed
BAR_CELLS = 30
BINS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # lower ends of class sizes


def print_photo_check(check: "PhotoCheck") -> None:
    """Print counts, a histogram of class sizes, and what is wrong.

    Args:
        check: result of `carsfg.data.photo_check.check_photos`.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(title=escape(str(check.source.folder)), title_justify="left", show_header=False)
    width, height, most_width, most_height = check.sizes
    smallest, largest = (pick(check.class_sizes, key=check.class_sizes.__getitem__) for pick in (min, max))
    for title, value in (
        ("images", f"{len(check.source):,}"),
        ("classes", f"{len(check.class_sizes):,}"),
        *((part, f"{count:,}") for part, count in check.parts.items()),
        ("smallest class", f"{check.class_sizes[smallest]:,} ({smallest})"),
        ("largest class", f"{check.class_sizes[largest]:,} ({largest})"),
        ("width x height", f"{width} x {height} to {most_width} x {most_height} pixels"),
        ("unreadable", f"{len(check.unreadable):,}"),
        ("pairs of duplicates (byte-identical files)", f"{len(check.identical):,}"),
        ("pairs of near duplicates", f"{len(check.near):,}"),
        ("  of both, with conflicting labels", f"{check.conflicting:,}"),
        *((("  byte-identical, in two splits", f"{check.across:,}"),) if check.parts else ()),
    ):
        table.add_row(escape(title), escape(value))
    console.print(table)
    sizes = list(check.class_sizes.values())
    for line in (*histogram(sizes), *pair_lines(check), *few_lines(sizes), check.source.left_out):
        if line:
            console.print(line, soft_wrap=True)  # file names stay whole


def pair_lines(check: "PhotoCheck") -> list[str]:
    """Return lines that name pairs of duplicates and near duplicates, the most harmful ones first.

    Args:
        check: its pairs, with the labels and splits of its source.
    """
    labels, parts = check.source.labels.tolist(), check.source.parts
    found: list[tuple[bool, bool, bool, str]] = []
    for kind, pairs in (("byte-identical", check.identical), ("near duplicates", check.near)):
        for one, other in pairs:
            conflicts, leaks = labels[one] != labels[other], parts is not None and parts[one] != parts[other]
            what = f"{kind}{', conflicting labels' * conflicts}{', in two splits' * leaks}"
            files = f"{check.source.name(one)} and {check.source.name(other)}"
            found.append((not conflicts, not leaks, kind != "byte-identical", f"{what}: {files}"))
    lines = [line for *_, line in sorted(found, key=lambda one: one[:3])]
    return lines[:NAMED] + ([f"and {len(lines) - NAMED:,} more pairs"] if len(lines) > NAMED else [])


def few_lines(sizes: list[int]) -> list[str]:
    """Return what `fit` does with classes of few images; nothing if there are none.

    Args:
        sizes: number of images of each class.
    """
    from carsfg.data.photo_splits import DEFAULT_MIN_IMAGES, count_of

    few = sum(size < DEFAULT_MIN_IMAGES for size in sizes)
    if len(sizes) - few < 2:
        return [f"`carsfg fit` needs two classes of {DEFAULT_MIN_IMAGES} or more images (--data.min_images)"]
    if not few:
        return []
    have = count_of(few, "class has", "classes have")
    return [f"{have} fewer than {DEFAULT_MIN_IMAGES} images; `carsfg fit` leaves them out (--data.min_images)"]


def histogram(sizes: list[int]) -> list[str]:
    """Return lines that count the classes by their number of images.

    Args:
        sizes: number of images of each class.
    """
    ends = [*BINS[1:], None]
    counts = {
        (low, end): sum(low <= size and (end is None or size < end) for size in sizes)
        for low, end in zip(BINS, ends, strict=True)
    }
    most = max(*counts.values(), 1)
    lines = ["classes by their number of images:"]
    for (low, end), count in counts.items():
        if count:
            span = str(low) if end == low + 1 else f"{low} or more" if end is None else f"{low}-{end - 1}"
            lines.append(f"{span:>12} {'#' * max(1, round(BAR_CELLS * count / most))} {count}")
    return lines
