"""From a mode of `--box` to what finds the car, and to the line that says so."""

from pathlib import Path

from carsfg.errors import InputError
from carsfg.run_record import RunRecord
from carsfg.search.box_choice import WHOLE_PHOTOS, BoxMode, BoxSource, difference_line
from carsfg.search.car_box import BoxFinder
from carsfg.search.detector import Detector
from carsfg.tasks.network import CarsNetwork


def make_finder(
    mode: BoxMode, task: CarsNetwork, bfloat16: bool, weights: str | Path | None = None, asked: bool = True
) -> BoxSource | None:
    """Return what finds the car in photos; None takes them whole.

    Args:
        mode: `auto`, `none` or `detector`.
        task: network that embeds the photos.
        bfloat16: use bfloat16 autocast.
        weights: file of the detector's weights; None downloads them.
        asked: whether the user named the mode: then it must work.

    Raises:
        InputError: the detector's weights cannot be used, or the network has no feature map and `asked` is true.
    """
    if mode == "none":
        return None
    if mode == "detector":
        return Detector.open(weights, task.device)
    finder = BoxFinder(task, bfloat16)
    if not finder and asked:
        raise InputError(
            "--box auto: this network has no feature map to find the car by; use --box none or detector, or --boxes"
        )
    return finder if finder else None


def box_line(mode: BoxMode, reason: str, finder: BoxSource | None, record: RunRecord, what: str) -> str:
    """Return one line that says how photos are cut; an empty text where nothing is known of the network's images.

    Args:
        mode: `auto`, `none` or `detector`.
        reason: why, in words; empty if unknown.
        finder: as `make_finder` returned it.
        record: of the network or of its gallery.
        what: name of the photos, such as `the images`.
    """
    if mode != "none" and finder is None:
        mode, reason = "none", "this network has no feature map to find the car by"
    difference = difference_line(record, WHOLE_PHOTOS, what) if finder is None else ""
    return "; ".join(part for part in (f"box: {mode} ({reason})" if reason else "", difference) if part)
