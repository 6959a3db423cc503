"""RunRecord: configuration and environment of a run, a checkpoint, a gallery or an evaluation.

The record is stored as `run_record.json` in the run's folder, under `carsfg.record` in its checkpoints, and in the
manifest of a gallery. Runs with equal `recipe_hash` are repetitions of each other; no others are averaged.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from carsfg.errors import InputError
from carsfg.files import replacing
from carsfg.untrusted import parse_json

RECORD_FILE = "run_record.json"
STANFORD_CARS, DRAWN_CARS = "Stanford Cars", "drawn cars"  # values of `data["name"]`; any other name is a user's own
RETRIEVAL = "carsfg.callbacks.faiss_retrieval.FaissRetrieval"  # its arguments belong to the scoring, not the training
# keys of `data` that describe the training images; the other keys also apply to the images that are scored
TRAINING_DATA = (
    "val",
    "augment",
    "box_jitter",
    "batch_size",
    "sampling",
    "images_per_class",
    "split_seed",
    "split_hash",
    "train_images",
    "learned_from",
)
NOT_TRAINED = "not trained"  # `chosen_on` of a pretrained network as it was published
FROZEN = {"backbone": " frozen", "batch_norm_statistics": ", BatchNorm fixed"}  # after the name of the network
SCORING_TRAINER = ("precision", "limit_test_batches", "limit_val_batches")


@dataclass(frozen=True)
class RunRecord:
    """Configuration and environment of a run.

    Attributes:
        experiment: name of the experiment, such as `tl_exp3`.
        task: `class_path` of the task and its arguments, without class names, paths of weights, and `compile`.
        data: `class_path` of the DataModule; `name` of the data set; `classes`, `train_images` and `test_images`, their
            numbers; `split_hash` of the image files; and the arguments that change images, labels or batches.
        callbacks: arguments of each callback that changes the weights or the metrics, by class path.
        trainer: arguments that change the result, such as `max_epochs`, and the `precision` that was used.
        weights: name of the pretrained weights or of the checkpoint that the training started from; `random` for none.
        weights_sha256: first 16 digits of the checksum of that file; empty for weights that were named.
        chosen_on: split and metric that selected the checkpoint, such as `holdout: val/top1`, or `last epoch`; or
            `not trained` for a pretrained network as it was published.
        seed: number that all random generators were initialised with.
        hardware: devices and threads.
        versions: of carsfg, torch and torchvision.
        scored_images: number of test images that were scored; 0 before a test. Less than `data["test_images"]` if the
            test was cut short by `limit_test_batches`.
    """

    experiment: str = ""
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    weights: str = "random"
    weights_sha256: str = ""
    chosen_on: str = "last epoch"
    seed: int = 0
    hardware: str = ""
    versions: str = ""
    scored_images: int = 0

    @property
    def recipe_hash(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over the record.

        `seed`, `hardware`, `versions`, `scored_images` and the name of the data set are left out: `split_hash`
        identifies the files. The number of processes and the precision, which are in `trainer`, are not left out.
        """
        recipe = asdict(self)
        for key in ("seed", "hardware", "versions", "scored_images"):
            del recipe[key]
        recipe["data"].pop("name", None)
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def is_trained(self) -> bool:
        """Whether carsfg trained the network or its head; not if it is a pretrained network as it was published."""
        return self.chosen_on != NOT_TRAINED

    @property
    def training_length(self) -> str:
        """Length of the training, such as `10 epochs`; `linear probe` if a head was fitted to fixed embeddings."""
        if "linear_probe_of" in self.trainer:
            return f"linear probe of {self.trainer['linear_probe_of']}"
        return f"{self.trainer.get('max_epochs', 'unknown')} epochs"

    @property
    def network(self) -> str:
        """Name of the network, such as `resnet50 frozen`."""
        task = str(self.task.get("class_path", "")).rpartition(".")[2]
        name = str(self.task.get("backbone") or ("custom CNN" if task in ("CarCNN", "") else task))
        return name + FROZEN.get(str(self.task.get("freeze")), "")

    @property
    def data_name(self) -> str:
        """Name of the data set: `Stanford Cars`, `drawn cars`, or that of a user's own data."""
        return str(self.data.get("name", "unknown data"))

    @property
    def is_stanford_cars(self) -> bool:
        """Whether the data set is the real Stanford Cars, so that published numbers are comparable."""
        return self.data_name == STANFORD_CARS

    @property
    def protocol(self) -> str:
        """Evaluation protocol, such as `official`."""
        return str(self.data.get("protocol", "official"))

    @property
    def metric(self) -> str | None:
        """Metric of the retrieval, `cosine` or `euclidean`; None if the run had no retrieval."""
        found = self.callbacks.get(RETRIEVAL, {}).get("metric")
        return None if found is None else str(found)

    @property
    def precision(self) -> str:
        """Precision that was used, in Lightning's terms, such as `32-true` or `bf16-mixed`."""
        return str(self.trainer.get("precision", "32-true"))

    @property
    def trained_precision(self) -> str | None:
        """Precision of the training; None if the record does not contain it."""
        found = self.trainer.get("precision")
        return None if found is None else str(found)

    @property
    def scored_part(self) -> str:
        """Part of the test images that was scored, such as `8 of 16 images`; empty for all of them."""
        total = self.data.get("test_images")
        partial = isinstance(total, int) and 0 < self.scored_images < total
        return f"{self.scored_images:,} of {total:,} images" if partial else ""

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        size = self.task.get("image_size")
        return size if isinstance(size, int) else 224

    def flat(self) -> dict[str, Any]:
        """Return all values by dotted key, such as `task.lr` and `callbacks.EMAWeightAveraging.decay`.

        The class path of a callback is shortened to its class name. Lists and dicts inside arguments stay as they are.
        """
        own = asdict(self)
        short = {path.rpartition(".")[2]: arguments for path, arguments in own.pop("callbacks").items()}
        nested = {key: own.pop(key) for key in ("task", "data", "trainer")}
        parts = {f"{block}.{key}": value for block, values in nested.items() for key, value in values.items()}
        used = {f"callbacks.{name}": True for name in short}
        arguments = {
            f"callbacks.{name}.{key}": value for name, values in short.items() for key, value in values.items()
        }
        return own | parts | used | arguments

    def scored_as(self, now: "RunRecord") -> "RunRecord":
        """Return the record of a checkpoint's test: how it was trained from this record, how it is scored from `now`.

        Args:
            now: record of the run that scores.
        """
        data = now.data | {key: self.data[key] for key in TRAINING_DATA if key in self.data}
        if "box_jitter" not in self.data:  # a run without it has no such key
            data.pop("box_jitter", None)
        callbacks = {path: arguments for path, arguments in self.callbacks.items() if path != RETRIEVAL}
        callbacks |= {path: arguments for path, arguments in now.callbacks.items() if path == RETRIEVAL}
        trainer = self.trainer | {key: now.trainer[key] for key in SCORING_TRAINER if key in now.trainer}
        own = {
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "chosen_on": self.chosen_on,
            "seed": self.seed,
        }
        return replace(now, data=data, callbacks=callbacks, trainer=trainer, **own)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values, the recipe hash included for readers."""
        return asdict(self) | {"recipe_hash": self.recipe_hash}

    @classmethod
    def from_dict(cls, values: Any, source: str | Path = "run record") -> "RunRecord":
        """Build a record from what `to_dict` returned.

        Args:
            values: the plain values; unknown keys are ignored, missing ones take their defaults.
            source: what the values were read from, for the message.

        Raises:
            InputError: the values are not those of a record.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"{source}: the run record is damaged")
        known = {one.name: type(getattr(cls(), one.name)) for one in fields(cls)}
        taken = {key: values[key] for key in known if key in values}
        wrong = [key for key, value in taken.items() if not isinstance(value, known[key])]
        blocks = [*taken.get("callbacks", {}).values()] if "callbacks" not in wrong else []
        if wrong or not all(isinstance(block, dict) for block in blocks):
            raise InputError(f"{source}: the run record is damaged ({', '.join(wrong) or 'callbacks'})")
        return cls(**taken)

    def write(self, folder: str | Path) -> None:
        """Write `run_record.json` into a folder.

        Args:
            folder: of the run; it is created if needed.
        """
        text = json.dumps(self.to_dict(), indent=1, sort_keys=True)
        with replacing(Path(folder) / RECORD_FILE) as beside:
            beside.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> "RunRecord":
        """Read `run_record.json` of a run's folder.

        Args:
            folder: directory with `metrics.csv` and the other files of a run.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = Path(folder) / RECORD_FILE
        try:
            return cls.from_dict(_encodable(parse_json(path.read_text(encoding="utf-8"))), path)
        except FileNotFoundError:
            raise InputError(
                f"{folder} has no {RECORD_FILE}: it is not a run folder, or an older carsfg wrote it; train it again"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} is damaged: {error}") from error


def _encodable(values: Any) -> Any:
    """Return JSON values with `?` for what is not UTF-8, as in names of files: no figure and no page can hold it."""
    return json.loads(json.dumps(values, ensure_ascii=False).encode(errors="replace"))
