"""Keep a finished run as a reference run: `python -m tests.reference RUN NAME`, such as `NAME` tl_exp1/resnet50.

Checkpoints, host names, folders of the machine and photographs are left out; figures of neighbours are kept for drawn
cars only.
"""

import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from carsfg.run_record import DRAWN_CARS, RunRecord

REFERENCE = Path(__file__).parents[1] / "lightning_logs/reference"
EVENTS = "events.out.tfevents.0.reference"  # TensorBoard's own names hold the host's
COPIED = ("run_record.json", "metrics.csv", "confusions.csv", "per_class.csv")


def keep(run: Path, target: Path) -> None:
    """Write a reference run; an earlier one of the same name is replaced."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in COPIED:
        if (run / name).exists():
            shutil.copy(run / name, target / name)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["init_args"]["root"] = "data"
    arguments = config["model"]["init_args"]
    for key in ("weights", "init_from"):
        arguments[key] = Path(arguments[key]).name if arguments.get(key) else None
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    drawn = RunRecord.read(run).data_name == DRAWN_CARS
    with (target / EVENTS).open("wb") as file:
        writer = RecordWriter(file)
        for event in events(run):
            _prune(event, drawn)
            if event.WhichOneof("what") != "summary" or event.summary.value:
                writer.write(event.SerializeToString())
    if drawn:
        _copy_projector(run, target)


def events(run: Path) -> Iterator[Event]:
    """Yield the events of a run, file after file, with one file version only."""
    for place, path in enumerate(sorted(run.glob("events.out.tfevents.*"))):
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            if place == 0 or event.WhichOneof("what") != "file_version":
                yield event


def _prune(event: Event, drawn: bool) -> None:
    """Drop photographs, and for drawn cars the figures of validation; keep other figures in fewer colours."""
    kept = []
    for value in event.summary.value:
        if value.HasField("image"):
            if value.tag.startswith("val/") if drawn else "/retrieval/" in value.tag:
                continue
            value.image.encoded_image_string = _in_fewer_colours(value.image.encoded_image_string)
        kept.append(value)
    if event.WhichOneof("what") == "summary":
        del event.summary.value[:]
        event.summary.value.extend(kept)


def _in_fewer_colours(png: bytes) -> bytes:
    """Make a picture a third as large."""
    picture, buffer = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _copy_projector(run: Path, target: Path) -> None:
    """Copy the last of the projector's points."""
    projected = (run / "projector_config.pbtxt").read_text().rpartition("embeddings {")[2]
    (target / "projector_config.pbtxt").write_text("embeddings {" + projected)
    folder = next(line.split('"')[1] for line in projected.splitlines() if "tensor_path" in line)
    shutil.copytree((run / folder).parent, (target / folder).parent)
    sprite = (target / folder).parent / "sprite.png"
    sprite.write_bytes(_in_fewer_colours(sprite.read_bytes()))


if __name__ == "__main__":
    keep(Path(sys.argv[1]), REFERENCE / sys.argv[2])
