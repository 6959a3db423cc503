"""`carsfg evaluate`: one table of all that a checkpoint is good for."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carsfg.commands.parsing import OneLineParser
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.evaluation.checkpoint_data import Subject
    from carsfg.evaluation.scores import Row
    from carsfg.synthetic.dataset import DrawnCars

DEMO = "12,80,20,0"  # as configs/demo.yaml draws them


def main(args: list[str]) -> int:
    """Run `carsfg evaluate ARGS`.

    Args:
        args: the words after `carsfg evaluate`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, checkpoint or data cannot be used, or they do not fit each other.
    """
    try:
        options = _parser().parse_args(args)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    if min(options.knn, options.batch_size) < 1:
        raise InputError("--knn and --batch-size must be 1 or more")
    if options.json and not Path(options.json).parent.is_dir():  # said before it takes minutes
        raise InputError(f"cannot write {options.json}: there is no such folder")
    return _evaluate(options)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="carsfg evaluate",
        description="Score a checkpoint by its head, k-NN, a linear probe and retrieval, with 95 % intervals.",
    )
    parser.add_argument("checkpoint", help="written by `carsfg fit`")
    parser.add_argument("--root", default="data", help="folder of stanford_cars/ (default: %(default)s)")
    parser.add_argument(
        "--no-crop", dest="crop", action="store_false", help="images are crops already (`data.crop: false`)"
    )
    parser.add_argument("--margin", type=float, default=0.0, help="as `data.margin` in training (default: %(default)s)")
    parser.add_argument("--cache-dir", help="where decoded crops are kept (default: ROOT/cache)")
    parser.add_argument(
        "--drawn",
        nargs="?",
        const=DEMO,
        metavar="CLASSES,TRAIN,TEST[,SEED]",
        help=f"cars drawn under ROOT/drawn_cars/; alone: as demo.yaml draws them ({DEMO})",
    )
    parser.add_argument("--knn", type=int, default=10, help="how many neighbours vote (default: %(default)s)")
    parser.add_argument("--metric", choices=("cosine", "euclidean"), default="cosine", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("auto", "bf16", "32"),
        default="auto",
        help="auto: bf16 where the device computes in it, unless the network was trained in 32 bits",
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    """Embed all images, compute all figures, print and write them."""
    from carsfg.evaluation.checkpoint_data import Subject
    from carsfg.evaluation.scores import evaluate_closed, evaluate_zero_shot, probe_strength
    from carsfg.evaluation.table import print_evaluation
    from carsfg.hardware import computes_in_bfloat16, device_name, find_device
    from carsfg.progress import stderr_console, track

    device, drawn = find_device(options.device), _drawn(options.drawn)
    names = ("root", "crop", "margin", "cache_dir", "batch_size")
    data = {name: getattr(options, name) for name in names}
    subject = Subject.open(options.checkpoint, device, drawn=drawn, **data)
    wanted = computes_in_bfloat16(device.type) and subject.stamp.get("precision") != "32-true"
    bfloat16 = wanted if options.precision == "auto" else options.precision == "bf16"
    train, test = subject.images(bfloat16, lambda loader: track(loader, "embedding"))
    with stderr_console().status("searching, voting and probing"):
        if train is None:
            rows, strength = evaluate_zero_shot(test, options.metric), None
        else:
            strength = probe_strength(train, device)
            rows = evaluate_closed(train, test, options.metric, options.knn, strength, device)
    facts = _facts(options, subject) | {"probe_strength": strength}
    facts |= {"device": device_name(device), "precision": "bf16" if bfloat16 else "32 bits"}
    parts = {"the second half": test} if train is None else {"cars_train": train, "cars_test": test}
    facts["twins"] = {name: int(images.twin.sum()) for name, images in parts.items()}
    print_evaluation(rows, facts)
    if options.json:
        _write(options.json, rows, facts)
    return 0


def _drawn(text: str | None) -> "DrawnCars | None":
    """Read what follows `--drawn`."""
    from carsfg.synthetic.dataset import DrawnCars

    if text is None:
        return None
    try:
        classes, train, test, *seed = map(int, text.split(","))
        return DrawnCars(classes, train, test, *seed)
    except (ValueError, TypeError):
        raise InputError(f"--drawn {text}: give CLASSES,TRAIN,TEST or CLASSES,TRAIN,TEST,SEED, as {DEMO}") from None


def _facts(options: argparse.Namespace, subject: "Subject") -> dict[str, Any]:
    """Say what was scored, and how."""
    from carsfg.evaluation.bootstrap import RESAMPLES, SHARE
    from carsfg.tasks.fingerprint import fingerprint

    data = subject.data
    return {
        "checkpoint": options.checkpoint,
        "task": type(subject.task).__name__,
        "fingerprint": fingerprint(subject.task),
        "protocol": data.protocol,
        "data": "drawn cars" if data.drawn else "Stanford Cars",
        "split_hash": data.split_hash,
        "crop": data.crop,
        "margin": data.margin,
        "stamp": subject.stamp,
        "began_in_unknown": subject.begins_in_unknown,
        "image_size": subject.task.hparams["image_size"],
        "metric": options.metric,
        "knn": options.knn,
        "batch_size": options.batch_size,
        "resamples": RESAMPLES,
        "interval": SHARE,
    }


def _write(file: str, rows: "list[Row]", facts: dict[str, Any]) -> None:
    """Write everything as JSON; what is not a number becomes null."""
    listed = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()}
        for row in rows
    ]
    try:
        Path(file).write_text(json.dumps({**facts, "rows": listed}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}") from error
