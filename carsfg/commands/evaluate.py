"""`carsfg evaluate`: one table of all scores of a checkpoint."""

import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carsfg.commands.options import (
    NETWORK,
    Embedding,
    PretrainedWeights,
    check_counts,
    option,
    parse,
    positional,
    split_block,
)
from carsfg.commands.outputs import check_file
from carsfg.errors import InputError
from carsfg.files import replacing

if TYPE_CHECKING:
    import torch

    from carsfg.evaluation.checkpoint_data import Subject
    from carsfg.evaluation.linear_probe import LinearProbe
    from carsfg.evaluation.scores import Row
    from carsfg.retrieval.similarity import Metric
    from carsfg.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The most used settings of the data; all others of `carsfg fit` are accepted as well.

    Attributes:
        root: folder of the data set.
        drawn: numbers of classes and images of the drawn cars, as in `data.drawn`.
        crop: cut each image to its annotated box.
        margin: fraction of the box that is added on each side.
        image_size: side of the stored squares in pixels.
        cache_dir: folder of the decoded images.
        protocol: `official`, `zero_shot` or `seed_leaky`.
    """

    root: str | None = option("folder of the data set (default: data)", None)
    drawn: Mapping[str, int] | None = option("drawn cars: {classes: 12, train: 80, test: 20, seed: 0}", None)
    crop: bool | None = option("cut each image to its annotated box", None)
    margin: float | None = option("fraction of the box that is added on each side", None)
    image_size: int | None = option("side of the stored squares in pixels", None)
    cache_dir: str | None = option("folder of the decoded images; by default ROOT/cache", None)
    protocol: str | None = option("official, zero_shot or seed_leaky", None)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(PretrainedWeights, Embedding):
    """Score a network by its head, k-NN, a linear probe and retrieval, with 95 % intervals.

    The data, its settings, metric and precision are those of the run that made the checkpoint; options replace them. A
    pretrained network is scored without its head, on any data.

    Attributes:
        checkpoint: file that `carsfg fit` wrote, or the name of a pretrained network.
        data: settings that replace those of the run.
        knn: number of neighbours that vote.
        json: file to write.
        save_probe: checkpoint to write.
    """

    checkpoint: str = positional(NETWORK)
    data: DataOptions = field(default_factory=DataOptions)
    knn: int = option("number of neighbours that vote", 10)
    json: str | None = option("also write all scores to this file", None)
    save_probe: str | None = option(
        "also write the network with the linear probe as its head to this checkpoint (.ckpt), which every verb takes",
        None,
    )


def main(args: Sequence[str]) -> int:
    """Run `carsfg evaluate`.

    Args:
        args: the words after `carsfg evaluate`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, checkpoint or data cannot be used, or they do not fit each other.
    """
    own, data_words = split_block(args, "data", [one.name for one in fields(DataOptions)])
    options = parse("evaluate", EvaluateOptions, own)
    check_counts(options, "knn", "batch_size")
    for file in (options.json, options.save_probe):  # checked before it takes minutes
        if file:
            check_file(file)
    if options.save_probe and Path(options.save_probe).exists():
        raise InputError(f"{options.save_probe} exists: name another file for the probe by --save_probe")
    return _evaluate(options, data_words)


def _evaluate(options: EvaluateOptions, data_words: Sequence[str]) -> int:
    """Embed all images, compute all scores, print and write them."""
    from carsfg.commands.run_data import say_settings
    from carsfg.evaluation.probe_checkpoint import check_probe, save_probe
    from carsfg.evaluation.table import print_evaluation
    from carsfg.hardware import choose_precision, device_name, find_device
    from carsfg.run_record import RETRIEVAL
    from carsfg.tasks.checkpoints import load_with_record

    device = find_device(options.device)
    task, record = load_with_record(options.checkpoint, device, options.weights)
    metric: Metric = options.metric or record.metric or "cosine"  # type: ignore[assignment]
    precision = choose_precision(device.type, options.precision, record.trained_precision)
    subject, used = _open(options, record, task, data_words)
    say_settings(record, used, metric=metric, precision=precision)
    described = subject.describe_data()
    _say_difference(record, described)
    if options.save_probe:
        check_probe(task, subject.protocol)
    rows, strength, probe = _score(subject, metric, options.knn, precision, device)
    data = record.data | {key: value for key, value in used.items() if key in record.data} | described
    trainer = {"precision": precision, "limit_test_batches": 1.0, "limit_val_batches": 1.0}
    now = replace(
        record,
        task=task.describe(),
        data=data,
        callbacks={RETRIEVAL: {"metric": metric, "knn": [options.knn]}},
        trainer=trainer,
        hardware=device_name(device),
        scored_images=int(data.get("test_images", 0)),
    )
    facts = _facts(options, subject, record, now) | {"probe_strength": strength}
    print_evaluation(rows, facts)
    if options.json:
        _write(options.json, rows, facts)
    if options.save_probe:
        if probe is None or strength is None:
            raise InputError(f"--save_probe: {type(subject.data).__name__} has no training images to fit a probe to")
        save_probe(options.save_probe, probe, strength, rows[0].gallery, subject, now)
        _say_saved(options.save_probe)
    return 0


def _say_saved(path: str) -> None:
    """Print what can be done with the checkpoint of a probe."""
    word = shlex.quote(path)
    print(f"checkpoint with the linear probe as its head: {word}")  # noqa: T201
    print(f"classify photos with it: carsfg predict {word} PHOTO ...")  # noqa: T201


def _say_difference(record: "RunRecord", described: Mapping[str, Any]) -> None:
    """Print one line on stderr if the network learned from other images than those that are scored."""
    from carsfg.search.box_choice import difference_line

    if given := described.get("learned_from"):
        line = difference_line(record, given, "the images", advice=False)
        if line:
            print(line, file=sys.stderr)  # noqa: T201


def _open(
    options: EvaluateOptions, record: "RunRecord", task: Any, data_words: Sequence[str]
) -> "tuple[Subject, dict[str, Any]]":
    """Return the network with its data, and the arguments of the DataModule."""
    from carsfg.commands.run_data import make_data
    from carsfg.evaluation.checkpoint_data import Subject

    data, used = make_data(record, task, data_words, options.batch_size)
    try:
        return Subject.prepare(task, data, options.checkpoint), used
    except InputError as error:
        if not record.data or any(word.startswith("--data.root=") for word in data_words):
            raise
        raise InputError(f"{error} (trained on {record.data_name}; --data.root names its folder)") from error


def _score(
    subject: "Subject", metric: "Metric", knn: int, precision: str, device: "torch.device"
) -> "tuple[list[Row], float | None, LinearProbe | None]":
    """Compute all scores, and the linear probe, with the strength of its penalty, if there is one."""
    from carsfg.evaluation.scores import evaluate_closed, evaluate_zero_shot, fit_probe, probe_strength
    from carsfg.progress import stderr_console, track

    train, test = subject.images(precision.startswith("bf16"), lambda loader: track(loader, "embedding"))
    with stderr_console().status("searching, voting and probing"):
        if train is not None:
            strength = probe_strength(train, device)
            probe = fit_probe(train, test, strength, device, len(subject.class_names))
            return evaluate_closed(train, test, metric, knn, strength, device, probe), strength, probe
        rows = evaluate_zero_shot(test, metric)
    # the classes of test images were learned, unless the protocol is zero-shot: without training images retrieval is
    # all that can be scored
    named = rows if subject.protocol == "zero_shot" else [replace(row, protocol="closed_loo") for row in rows]
    return named, None, None


def _facts(options: EvaluateOptions, subject: "Subject", record: "RunRecord", now: "RunRecord") -> dict[str, Any]:
    """Return what was scored, and how; `record` is of the run, `now` of the evaluation."""
    from carsfg.evaluation.bootstrap import COVERAGE
    from carsfg.tasks.fingerprint import fingerprint

    trained = {
        "weights": record.weights,
        "chosen_on": record.chosen_on,
        "seed": record.seed,
        "max_epochs": record.trainer.get("max_epochs"),
        "length": record.training_length,
        "precision": record.precision,
        "split_hash": record.data.get("split_hash"),
    }
    return {
        "checkpoint": options.checkpoint,
        "task": type(subject.task).__name__,
        "has_head": subject.task.has_head,
        "pretrained": None if record.is_trained else f"{record.network}, weights {record.weights}",
        "fingerprint": fingerprint(subject.task),
        "record": record.scored_as(now).to_dict(),
        "trained": {key: value for key, value in trained.items() if value is not None}
        if record.data and record.is_trained
        else {},
        "protocol": subject.protocol,
        "data": now.data_name,
        "split_hash": now.data.get("split_hash"),
        "unknown_start": subject.unknown_start,
        "image_size": subject.task.hparams["image_size"],
        "metric": now.metric,
        "knn": options.knn,
        "batch_size": options.batch_size,
        "device": now.hardware,
        "precision": now.precision,
        "duplicates": subject.duplicates,
        "interval": COVERAGE,
    }


def _write(file: str, rows: "list[Row]", facts: dict[str, Any]) -> None:
    """Write everything as JSON; NaN becomes null."""
    listed = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()}
        for row in rows
    ]
    try:
        with replacing(file) as beside:
            beside.write_text(json.dumps({**facts, "rows": listed}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file!r}: {error.strerror}") from error
