"""`carsfg index GALLERY --add FOLDER`, `--remove PATTERN`, `--merge OTHER`, `--root FOLDER`: changing a gallery."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.change_options import ChangeOptions
from carsfg.commands.options import check_counts, parse
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.search.gallery import Gallery
    from carsfg.tasks.base import CarsTask

MAX_NAMED = 5  # new classes, in a message
ABANDONED_SECONDS = 24 * 3600  # age at which what a killed process was writing is removed


def change_gallery(args: Sequence[str]) -> int:
    """Run `carsfg index` with one of `--add`, `--remove`, `--merge` and `--root`.

    Args:
        args: the words after `carsfg index`.

    Returns:
        0, also if some photos could not be read: they are listed on stderr.

    Raises:
        InputError: the arguments are wrong, or gallery or photos cannot be used.
    """
    options = parse("index", ChangeOptions, args)
    check_counts(options, "batch_size")
    asked = [f"--{name}" for name in ("add", "remove", "merge", "root") if getattr(options, name) is not None]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(asked)} are two changes: make one after the other")
    return _change(options)


def refuse_existing(output: str, task: "CarsTask", overwrite: bool) -> None:
    """Refuse to write over a gallery that exists, and name the ways on.

    Args:
        output: folder of the gallery to write.
        task: network that is to embed its images.
        overwrite: a gallery may be replaced.

    Raises:
        InputError: a gallery exists there and may not be replaced.
    """
    from carsfg.search.manifest import MANIFEST, Manifest
    from carsfg.tasks.fingerprint import fingerprint

    if overwrite or not (Path(output) / MANIFEST).is_file():
        return
    replacing = "add --overwrite to replace it, or name another folder"
    try:
        own = Manifest.read(Path(output)).fingerprint
    except InputError:  # damaged, or of an earlier format
        raise InputError(f"{output} is a gallery that cannot be read: {replacing}") from None
    if own != fingerprint(task):
        raise InputError(f"{output} is a gallery of another network already: {replacing}")
    more = shlex.join(["carsfg", "index", output, "--add", "FOLDER"])
    raise InputError(f"{output} is a gallery of the same network already: add photos with `{more}`, or {replacing}")


def _change(options: ChangeOptions) -> int:
    from carsfg.search.gallery import Gallery
    from carsfg.search.manifest import MANIFEST

    folder = Path(options.gallery)
    gallery = Gallery.load(folder)
    before = (folder / MANIFEST).read_bytes()
    made = _made(options, gallery)
    if made is None:
        return 0
    if options.calibrate:
        made = _calibrated(options, made)
    elif options.root is None:
        _say_calibration(gallery, made)
    _write(made, folder, before)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    print(f"{folder}: {len(made):,} images of {len(made.class_names)} classes; {made.factory}; {size:.1f} MB")  # noqa: T201
    print(f"search with: carsfg search {shlex.quote(options.gallery)} PHOTO")  # noqa: T201
    return 0


def _made(options: ChangeOptions, gallery: "Gallery") -> "Gallery | None":
    """Return the changed gallery; None if there is nothing to change. What is changed is printed."""
    if options.root is not None:
        return _moved(options.root, gallery)
    if options.remove is not None:
        made = _removed(options.remove, gallery)
    else:
        found = _added(options, gallery) if options.add is not None else _merged(options, gallery)
        if found is None:
            return None
        made = found
    return _indexed(options.factory, gallery, made)


def _added(options: ChangeOptions, gallery: "Gallery") -> "Gallery | None":
    """Embed the photos that are new, and append them."""
    from carsfg.commands.growth_photos import NewPhotos

    photos = NewPhotos.find(options, gallery, str(options.add))
    others = photos.embed()
    if others is None:
        _say(f"nothing to add: {photos.counted}")
        return None
    made = gallery.merge(others)
    photos.say_left_out()
    _say_added(gallery, made, photos.counted if photos.known else "")
    return made


def _merged(options: ChangeOptions, gallery: "Gallery") -> "Gallery | None":
    from carsfg.commands.growth_photos import already_there
    from carsfg.search.gallery import Gallery

    others = Gallery.load(str(options.merge))
    made = gallery.merge(others)
    known = len(gallery) + len(others) - len(made)
    if known == len(others):
        _say(f"nothing to add: all {known:,} images of {options.merge} are already there")
        return None
    _say(_difference(gallery, others, str(options.merge)))
    _say_added(gallery, made, already_there(known) if known else "")
    return made


def _removed(pattern: str, gallery: "Gallery") -> "Gallery":
    from carsfg.search.growth import matching

    places = matching(gallery, pattern)
    made = gallery.remove(places)
    left = {*made.labels.tolist()}
    empty = sorted({*gallery.labels[places].tolist()} - left)
    names = [repr(gallery.class_names[label]) for label in empty] if gallery.class_names else []
    extra = f"; no image is left of {_some(names)}, whose labels stay" if names else ""
    print(f"{_images(len(places))} removed{extra}")  # noqa: T201
    return made


def _moved(root: str, gallery: "Gallery") -> "Gallery":
    from dataclasses import replace

    old, equals, new = root.partition("=")
    given = (new, old) if equals and not Path(root).exists() else (root, None)
    if not Path(given[0]).is_dir():
        raise InputError(f"--root: the folder {given[0]!r} does not exist")
    made = replace(gallery, roots=gallery.roots.moved(*given))
    there = sum(photo is not None and photo.is_file() for photo in map(made.photo, range(len(made))))
    print(f"{there:,} of {len(made):,} photos are there")  # noqa: T201
    return made


def _indexed(factory: str | None, gallery: "Gallery", made: "Gallery") -> "Gallery":
    """Build the index anew if that was asked for, or if an exact one has become too slow."""
    from carsfg.search.build import MAX_EXACT_IMAGES, choose_factory
    from carsfg.search.growth import reindex

    if factory is not None:
        return reindex(made, factory)
    grown = made.factory == "Flat" and gallery.trained_on <= MAX_EXACT_IMAGES < len(made)
    if grown:
        factory = choose_factory(len(made))
        _say(f"the index is now {factory}: exact search is for up to {MAX_EXACT_IMAGES:,}; --factory Flat keeps it")
        return reindex(made, factory)
    if made.trained_on != gallery.trained_on:
        _say(f"the index has learned anew from {len(made):,} images")
    return made


def _calibrated(options: ChangeOptions, made: "Gallery") -> "Gallery":
    """Measure the known-car scores on other photos, which are not in the gallery."""
    from dataclasses import replace

    from carsfg.commands.growth_photos import NewPhotos
    from carsfg.search.calibration import calibrate
    from carsfg.search.growth import OTHER_PHOTOS, vectors_of

    photos = NewPhotos.find(options, made, str(options.calibrate))
    others = photos.embed(pictures=False)
    if others is None:
        raise InputError(f"no image of --calibrate {options.calibrate!r} is readable and new: name other photos")
    photos.say_left_out()
    scores = calibrate(made, vectors_of(others), itself=False)
    return replace(made, calibration=scores, calibrated_on=OTHER_PHOTOS)


def _write(made: "Gallery", folder: Path, before: bytes) -> None:
    """Replace the gallery in one step, unless another process has changed it meanwhile."""
    from carsfg.files import remove_abandoned
    from carsfg.search.manifest import MANIFEST
    from carsfg.search.storage import NETWORK, write_gallery

    remove_abandoned(folder.resolve().parent, ABANDONED_SECONDS)
    if (folder / MANIFEST).read_bytes() != before:
        raise InputError(f"another process has changed {folder} meanwhile, and nothing was written: run this again")
    network = folder / NETWORK
    write_gallery(made, folder, network if network.is_file() else None)


def _say_calibration(gallery: "Gallery", made: "Gallery") -> None:
    """Say that known-car scores are those from before a change, if they are."""
    from carsfg.search.growth import OTHER_PHOTOS, OWN_IMAGES

    if made.calibrated_on == OTHER_PHOTOS:
        _say("p-values: by other photos, measured before this change; --calibrate FOLDER measures them again")
    elif made.calibrated_on == OWN_IMAGES and made.calibration is gallery.calibration:
        _say("p-values: measured before this change, since this kind of index cannot give its embeddings back")


def _difference(gallery: "Gallery", others: "Gallery", name: str) -> str:
    """Return one line if images of two galleries were prepared in different ways."""
    own, theirs = (one.record.data | {"precision": one.record.precision} for one in (gallery, others))
    names = [key for key in ("crop", "margin", "image_size", "box", "precision") if own.get(key) != theirs.get(key)]
    parts = [f"{key} {theirs.get(key)} instead of {own.get(key)}" for key in names]
    return f"the images of {name} were prepared with {', '.join(parts)}" if parts else ""


def _say_added(gallery: "Gallery", made: "Gallery", known: str) -> None:
    counted = ", ".join(part for part in (f"{_images(len(made) - len(gallery))} added", known) if part)
    print(counted + _new_classes(gallery, made))  # noqa: T201


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _new_classes(gallery: "Gallery", made: "Gallery") -> str:
    names = [repr(name) for name in made.class_names[len(gallery.class_names) :]]
    return f"; new class{'es' if len(names) > 1 else ''}: {_some(names)}" if names else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


def _say(line: str) -> None:
    if line:
        print(line, file=sys.stderr)  # noqa: T201
