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
    from carsfg.commands.photo_embedder import PhotoEmbedder
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.search.embedded import EmbeddedPhotos
    from carsfg.search.gallery import Gallery


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
    from carsfg.commands.photo_embedder import PhotoEmbedder, say_use
    from carsfg.hardware import find_device
    from carsfg.search.build import check_factory, choose_factory, shared_images, tune
    from carsfg.search.calibration import calibrate
    from carsfg.search.growth import OTHER_PHOTOS, OWN_IMAGES
    from carsfg.search.shards import remove_shards, shards_folder
    from carsfg.search.storage import check_target
    from carsfg.tasks.checkpoints import load_with_record

    check_target(options.output)  # before it takes minutes
    device = find_device(options.device)
    task, record = load_with_record(options.checkpoint, device, options.weights)
    refuse_existing(options.output, task, options.overwrite)
    use = Settings.choose(options, record, task, device)
    photos = use.find_photos(options.folder, options.data, options.split)
    if options.factory is not None:
        check_factory(options.factory, len(photos))
    others = use.find_photos(options.calibrate, options.data) if options.calibrate else None
    shared = [] if others is None else shared_images(photos, others)
    if others is not None and len(shared) == len(others):
        raise InputError(f"all images of --calibrate {options.calibrate!r} are also in the gallery: name other photos")
    say_use(record, use, photos)
    embedder = PhotoEmbedder.choose(options, photos, photos.folder, task, record, use)
    kept = [shards_folder(options.output, name) for name in ("images", "calibration")]
    embedded = embedder.embed(photos, kept[0], pictures=True)
    factory = choose_factory(len(embedded.places)) if options.factory is None else options.factory
    gallery = _build(photos, embedded, factory, embedder)
    gallery.calibrated_on = OWN_IMAGES if others is None else OTHER_PHOTOS
    recall = 1.0 if factory == "Flat" else tune(gallery, embedded.embeddings)
    if others is None:
        gallery.calibration = calibrate(gallery, embedded.embeddings, itself=True)
    else:
        more = embedder.embed_others(others, others.crop, kept[1])
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


def _unshared(embedded: "EmbeddedPhotos", photos: "CroppedImages", shared: list[str]) -> list[int]:
    """Return the rows of embedded photos that are not also in the gallery."""
    known = set(shared)
    return [row for row, place in enumerate(embedded.places) if photos.source.name(place) not in known]


def _build(photos: "CroppedImages", embedded: "EmbeddedPhotos", factory: str, embedder: "PhotoEmbedder") -> "Gallery":
    import numpy as np

    from carsfg.search.attributes import Attributes
    from carsfg.search.contents import photo_contents
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
        embedder.use.metric,
        factory,
        record=embedder.gallery_record,
        fingerprint=fingerprint(embedder.task),
    )
    gallery.thumbnails, gallery.roots = Thumbnails.of(embedded.jpegs), Roots.of(photos.folder, len(embedded.places))
    gallery.attributes = Attributes.of(photos.source.take(np.array(embedded.places)).attributes)
    gallery.contents = photo_contents(photos, embedded.places, embedder.table)
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
