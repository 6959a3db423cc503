"""`carsfg index`: the images of a folder or table as a gallery to search in."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.change_options import CHANGES
from carsfg.commands.index_growth import change_gallery, refuse_existing
from carsfg.commands.index_options import IndexOptions, Settings, VerifyOptions
from carsfg.commands.options import check_counts, parse
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.sources.source import Part
    from carsfg.run_record import RunRecord
    from carsfg.search.box_choice import BoxSource
    from carsfg.search.embedded import EmbeddedPhotos
    from carsfg.search.gallery import Gallery
    from carsfg.tasks.base import CarsTask


def main(args: Sequence[str]) -> int:
    """Run `carsfg index`.

    Args:
        args: the words after `carsfg index`.

    Returns:
        0, also if some images could not be read: they are listed on stderr.

    Raises:
        InputError: the arguments are wrong, or checkpoint, images or output cannot be used.
    """
    given = {word.partition("=")[0] for word in args}
    if "--verify" in given:
        return _verify(parse("index", VerifyOptions, args).verify)
    if given & CHANGES:
        return change_gallery(args)
    options = parse("index", IndexOptions, args)
    check_counts(options, "batch_size")
    return _index(options)


def _verify(folder: str) -> int:
    from carsfg.search.gallery import Gallery

    gallery = Gallery.load(folder, verify=True)
    print(f"{folder}: {len(gallery):,} images, all checksums match")  # noqa: T201
    return 0


def _index(options: IndexOptions) -> int:
    """Embed, build, measure, calibrate and write."""
    from carsfg.commands.index_boxes import choose_box, say_boxed
    from carsfg.data.box_table import BoxTable
    from carsfg.hardware import find_device
    from carsfg.search.box_choice import TABLE
    from carsfg.search.build import choose_factory, embed_photos, shared_images, tune
    from carsfg.search.calibration import calibrate
    from carsfg.search.contents import photo_contents
    from carsfg.search.growth import OTHER_PHOTOS, OWN_IMAGES
    from carsfg.search.shards import remove_shards, shards_folder
    from carsfg.search.storage import check_target
    from carsfg.tasks.checkpoints import load_with_record

    check_target(options.output)  # before it takes minutes
    device = find_device(options.device)
    task, record = load_with_record(options.checkpoint, device, options.weights)
    refuse_existing(options.output, task, options.overwrite)
    use = Settings.choose(options, record, task, device)
    photos, others = _find(options, use)
    shared = [] if others is None else shared_images(photos, others)
    if others is not None and len(shared) == len(others):
        raise InputError(f"all images of --calibrate {options.calibrate!r} are also in the gallery: name other photos")
    _say_use(record, use, photos)
    bfloat16 = use.precision.startswith("bf16")
    table = BoxTable.read(options.boxes, photos.folder) if options.boxes else None
    box, finder = choose_box(options, photos, record, task, bfloat16, use.crop)
    kept = [shards_folder(options.output, name) for name in ("images", "calibration")]

    def embed(images: "CroppedImages", finder: "BoxSource | None", keep: Path, pictures: bool) -> "EmbeddedPhotos":
        return embed_photos(
            task, images, use.image_size, bfloat16, options.batch_size,
            finder=finder, table=table, keep=keep, pictures=pictures,
        )  # fmt: skip

    embedded = embed(photos, finder, kept[0], True)
    if finder is not None or table is not None:
        say_boxed(embedded, options.boxes)
    factory = choose_factory(len(embedded.places)) if options.factory is None else options.factory
    gallery = _build(photos, embedded, use, factory, task, use.record(record, TABLE if table and not finder else box))
    gallery.contents = photo_contents(photos, embedded.places, table)
    gallery.calibrated_on = OWN_IMAGES if others is None else OTHER_PHOTOS
    recall = 1.0 if factory == "Flat" else tune(gallery, embedded.embeddings)
    if others is None:
        gallery.calibration = calibrate(gallery, embedded.embeddings, itself=True)
    else:
        more = embed(others, None if others.crop else finder, kept[1], False)  # they are cut already with `crop`
        new = _unshared(more, others, shared)
        if not new:
            raise InputError(f"no image of --calibrate {options.calibrate!r} is readable and new: name other photos")
        gallery.calibration = calibrate(gallery, more.embeddings[new], itself=False)
        embedded.complaints += more.complaints
    gallery.save(options.output, task)
    for folder in kept:
        remove_shards(folder)
    listed = [one.source.left_out for one in (photos, others) if one is not None and one.source.left_out]
    if shared:
        listed.append(f"{len(shared)} images of --calibrate are also in the gallery, and are not used for calibration")
    _report(options.output, gallery, factory, recall, listed, embedded.complaints)
    return 0


def _say_use(record: "RunRecord", use: Settings, photos: "CroppedImages") -> None:
    """Print which settings are those of the run."""
    from carsfg.commands.run_data import say_settings

    boxes = {"crop": use.crop, "margin": use.margin} if photos.boxes is not None else {}
    say_settings(record, boxes | {"image_size": use.image_size}, metric=use.metric, precision=use.precision)


def _unshared(embedded: "EmbeddedPhotos", photos: "CroppedImages", shared: list[str]) -> list[int]:
    """Return the rows of embedded photos that are not also in the gallery."""
    known = set(shared)
    return [row for row, place in enumerate(embedded.places) if photos.source.name(place) not in known]


def _find(options: IndexOptions, use: Settings) -> "tuple[CroppedImages, CroppedImages | None]":
    """Return the images of the gallery, and those that calibrate it, if they are others.

    Raises:
        InputError: they cannot be read.
    """
    from carsfg.data.image_folder import find_photos

    form, columns = options.data, options.data.table_columns()

    def find(path: str, split: "Part | None") -> "CroppedImages":
        return find_photos(path, use.crop, use.margin, split, form.images, columns, form.class_level)

    return find(options.folder, options.split), find(options.calibrate, None) if options.calibrate else None


def _build(
    photos: "CroppedImages", embedded: "EmbeddedPhotos", use: Settings, factory: str, task: "CarsTask", run: "RunRecord"
) -> "Gallery":
    import numpy as np

    from carsfg.search.attributes import Attributes
    from carsfg.search.gallery import Gallery
    from carsfg.search.packed import path_in
    from carsfg.search.roots import Roots
    from carsfg.search.thumbnails import Thumbnails
    from carsfg.tasks.fingerprint import fingerprint

    gallery = Gallery.build(
        embedded.embeddings,
        photos.labels[embedded.places],
        [path_in(photos.folder, photos.paths[place]) for place in embedded.places],
        photos.class_names,
        use.metric,
        factory,
        record=run,
        fingerprint=fingerprint(task),
    )
    gallery.thumbnails, gallery.roots = Thumbnails.of(embedded.jpegs), Roots.of(photos.folder, len(embedded.places))
    gallery.attributes = Attributes.of(photos.source.take(np.array(embedded.places)).attributes)
    return gallery


def _report(
    output: str, gallery: "Gallery", factory: str, recall: float, listed: list[str], complaints: list[str]
) -> None:
    """Print what was written, and what was left out."""
    for line in [*listed, *(f"left out: {complaint}" for complaint in complaints)]:
        print(line, file=sys.stderr)  # noqa: T201
    kind = "exact" if factory == "Flat" else f"{factory}, recall@10 {recall:.3f} against exact search"
    size = sum(path.stat().st_size for path in Path(output).iterdir()) / 2**20
    left = f", {len(complaints)} could not be read" if complaints else ""
    print(f"{output}: {len(gallery):,} images of {len(gallery.class_names)} classes{left}; {kind}; {size:.1f} MB")  # noqa: T201
    print(f"search with: carsfg search {shlex.quote(output)} PHOTO")  # noqa: T201
