"""`carsfg index`: a folder of images as a gallery to search in."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carsfg.commands.parsing import OneLineParser
from carsfg.errors import InputError

if TYPE_CHECKING:
    import torch

    from carsfg.data.image_folder import Photos
    from carsfg.search.build import EmbeddedPhotos
    from carsfg.search.gallery import Gallery
    from carsfg.tasks.base import CarsTask


def main(args: list[str]) -> int:
    """Run `carsfg index ARGS`.

    Args:
        args: the words after `carsfg index`.

    Returns:
        0, also when some images could not be read: they are listed on stderr.

    Raises:
        InputError: the arguments are wrong, or checkpoint, images or output cannot be used.
    """
    try:
        options = _parser().parse_args(args)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    if options.batch_size < 1:
        raise InputError("--batch-size must be 1 or more")
    return _index(options)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="carsfg index",
        description="Embed all images of a folder, to search in. Stanford Cars is known by its annotations; of any "
        "other folder, an image's class is the name of its sub-folder.",
    )
    parser.add_argument("checkpoint", help="written by `carsfg fit`")
    parser.add_argument("folder", help="with images anywhere below it")
    parser.add_argument("--output", required=True, metavar="GALLERY", help="folder to write; a gallery is replaced")
    parser.add_argument(
        "--factory", help="FAISS's description of the index (default: Flat, exact; IVF beyond 100,000 images)"
    )
    parser.add_argument("--metric", choices=("cosine", "euclidean"), default="cosine", help="default: %(default)s")
    parser.add_argument(
        "--calibrate",
        metavar="FOLDER",
        help="photos of known cars that the network was not trained on, to tell unknown ones by; by default the "
        "gallery's own images",
    )
    parser.add_argument("--split", choices=("train", "test"), help="of Stanford Cars; both by default")
    parser.add_argument("--no-crop", dest="crop", action="store_false", help="Stanford Cars' images are crops already")
    parser.add_argument("--margin", type=float, default=0.0, help="as `data.margin` in training (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=("auto", "bf16", "32"), default="auto", help="auto: bf16 where the device computes in it"
    )
    return parser


def _index(options: argparse.Namespace) -> int:
    """Embed, build, measure, calibrate and write."""
    from carsfg.data.image_folder import Photos
    from carsfg.hardware import find_device
    from carsfg.search.build import choose_factory, embed_photos, tune
    from carsfg.search.calibration import calibrate
    from carsfg.search.gallery import check_target
    from carsfg.tasks.checkpoints import load

    check_target(options.output)  # said before it takes minutes
    device = find_device(options.device)
    task, photos = (
        load(options.checkpoint, device),
        Photos.find(options.folder, options.crop, options.margin, options.split),
    )
    others = Photos.find(options.calibrate, options.crop, options.margin) if options.calibrate else None
    stamp = _stamp(options, task, device)
    settings: dict[str, Any] = {"size": stamp["image_size"], "bfloat16": stamp["precision"] == "bf16"}
    embedded = embed_photos(task, photos, batch_size=options.batch_size, **settings)
    factory = options.factory or choose_factory(len(embedded.places))
    gallery = _build(photos, embedded, options.metric, factory, stamp)
    recall = 1.0 if factory == "Flat" else tune(gallery, embedded.embeddings)
    if others is None:
        gallery.known = calibrate(gallery, embedded.embeddings, itself=True)
    else:
        more = embed_photos(task, others, batch_size=options.batch_size, **settings)
        gallery.known = calibrate(gallery, more.embeddings, itself=False)
        embedded.complaints += more.complaints
    gallery.save(options.output, task)
    _report(options.output, gallery, factory, recall, embedded.complaints)
    return 0


def _stamp(options: argparse.Namespace, task: "CarsTask", device: "torch.device") -> dict[str, str | int]:
    """Say what makes the embeddings: all that a photo must be treated with as well."""
    from carsfg.hardware import computes_in_bfloat16
    from carsfg.tasks.checkpoints import read_stamp
    from carsfg.tasks.fingerprint import fingerprint

    made = read_stamp(options.checkpoint)
    wanted = computes_in_bfloat16(device.type) and made.get("precision") != "32-true"
    bfloat16 = wanted if options.precision == "auto" else options.precision == "bf16"
    own = {"image_size": made.get("image_size", task.hparams["image_size"]), "precision": "bf16" if bfloat16 else "32"}
    return {**made, **own, "fingerprint": fingerprint(task)}


def _build(
    photos: "Photos", embedded: "EmbeddedPhotos", metric: Any, factory: str, stamp: dict[str, str | int]
) -> "Gallery":
    from carsfg.search.gallery import Gallery
    from carsfg.search.thumbnails import Thumbnails

    paths = [photos.name(place) for place in embedded.places]
    labels = photos.labels[embedded.places]
    gallery = Gallery.build(embedded.embeddings, labels, paths, photos.class_names, metric, factory, stamp)
    gallery.thumbnails = Thumbnails.of(embedded.jpegs)
    return gallery


def _report(output: str, gallery: "Gallery", factory: str, recall: float, complaints: list[str]) -> None:
    """Say what was written, and what was left out."""
    for complaint in complaints:
        print(f"left out: {complaint}", file=sys.stderr)  # noqa: T201
    kind = "exact" if factory == "Flat" else f"{factory}, recall@10 {recall:.3f} against exact search"
    size = sum(path.stat().st_size for path in Path(output).iterdir()) / 2**20
    left = f", {len(complaints)} could not be read" if complaints else ""
    print(f"{output}: {len(gallery):,} images of {len(gallery.class_names)} classes{left}; {kind}; {size:.1f} MB")  # noqa: T201
    print(f"search with: carsfg search {output} PHOTO")  # noqa: T201
