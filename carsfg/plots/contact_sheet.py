"""A contact sheet: a few images of a few classes, to check the data by eye before training."""

from matplotlib.figure import Figure

from carsfg.data.cropped_images import CroppedImages

ROWS, COLUMNS = 8, 6


def contact_sheet(dataset: CroppedImages) -> Figure:
    """Plot up to 6 crops of up to 8 classes, evenly spread over all, each row under its class name.

    Args:
        dataset: its images are shown as `dataset.load` returns them.
    """
    count = len(dataset.class_names)
    shown = sorted({row * count // min(ROWS, count) for row in range(min(ROWS, count))})
    figure = Figure(figsize=(1.6 * COLUMNS, 1.25 * len(shown)), dpi=100, layout="constrained")
    for strip, label in zip(figure.subfigures(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        strip.suptitle(dataset.class_names[label], x=0.01, ha="left", fontsize=9, parse_math=False)
        images = (dataset.labels == label).nonzero().flatten().tolist()[:COLUMNS]
        for position, index in enumerate(images):
            cell = strip.add_subplot(1, COLUMNS, position + 1)
            cell.imshow(dataset.load(index))
            cell.axis("off")
    return figure
