"""Photos that are new to a gallery, read, cut and embedded as the gallery's images were."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.change_options import ChangeOptions
from carsfg.errors import InputError

if TYPE_CHECKING:
    import torch

    from carsfg.data.box_table import BoxTable
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.search.box_choice import BoxSource
    from carsfg.search.contents import Contents
    from carsfg.search.gallery import Gallery
    from carsfg.tasks.base import CarsTask


@dataclass
class NewPhotos:
    """Photos of a folder or table, and those of them that a gallery does not have.

    Attributes:
        options: parsed command line.
        gallery: that says how photos are prepared, and which ones are known.
        photos: all photos of the folder or table.
        table: boxes of photos by path.
        contents: checksums and boxes of all photos.
        places: of the new photos among all photos.
        known: number of photos that are not new.
        relabelled: number of those that the gallery has under another class.
        complaints: messages about photos that could not be used.
    """

    options: ChangeOptions
    gallery: "Gallery"
    photos: "CroppedImages"
    table: "BoxTable | None"
    contents: "Contents"
    places: list[int]
    known: int
    relabelled: int
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def find(cls, options: ChangeOptions, gallery: "Gallery", path: str) -> "NewPhotos":
        """Read a folder or table, and compare its files with those of a gallery; nothing is decoded yet.

        Args:
            options: parsed command line.
            gallery: whose images are compared with the photos.
            path: folder or table.

        Raises:
            InputError: it cannot be read.
        """
        from carsfg.data.box_table import BoxTable
        from carsfg.data.image_folder import find_photos
        from carsfg.search.contents import photo_contents
        from carsfg.search.growth import contents_of

        run, form = gallery.record.data, options.data
        crop, margin = bool(run.get("crop", True)), float(run.get("margin", 0.0))
        columns, level = form.table_columns(), form.class_level or int(run.get("class_level", 1))
        photos = find_photos(path, crop, margin, options.split, form.images, columns, level)
        table = BoxTable.read(options.boxes, photos.folder) if options.boxes else None
        contents = photo_contents(photos, range(len(photos)), table)
        same = contents_of(gallery).find(contents)
        known = [(row, place) for row, place in enumerate(same.tolist()) if place >= 0]
        names = [*_names(gallery.class_names, gallery.labels), *_names(photos.class_names, photos.labels)]
        relabelled = sum(names[len(gallery) + row] != names[place] for row, place in known)
        places = (same < 0).nonzero().flatten().tolist()
        return cls(options, gallery, photos, table, contents, places, len(known), relabelled)

    @property
    def counted(self) -> str:
        """Number of photos that are not new, in words."""
        other = f" ({self.relabelled:,} under another class)" if self.relabelled else ""
        return already_there(self.known) + other

    def embed(self, pictures: bool = True) -> "Gallery | None":
        """Embed the new photos by the network in the gallery; return them as a gallery, or None if there are none.

        Args:
            pictures: also make small pictures.

        Raises:
            InputError: the gallery holds no network, or none of the photos can be decoded.
        """
        import numpy as np
        import torch

        from carsfg.data.cropped_images import CroppedImages
        from carsfg.hardware import choose_precision, find_device
        from carsfg.search.attributes import Attributes
        from carsfg.search.build import embed_photos
        from carsfg.search.engine import input_size
        from carsfg.search.gallery import Gallery
        from carsfg.search.packed import path_in
        from carsfg.search.roots import Roots
        from carsfg.search.thumbnails import Thumbnails

        if not self.places:
            return None
        device = find_device(self.options.device)
        task, record = self._network(device), self.gallery.record
        precision = choose_precision(device.type, None, record.trained_precision)
        source = self.photos.source.take(np.array(self.places))
        photos = CroppedImages(source, crop=self.photos.crop, margin=self.photos.margin)
        bfloat16, size = precision.startswith("bf16"), input_size(record, task)
        finder = self._finder(photos, task, bfloat16)
        found = embed_photos(
            task, photos, size, bfloat16, self.options.batch_size, finder=finder, table=self.table, pictures=pictures
        )
        self.complaints = found.complaints
        rows = torch.tensor(found.places)
        paths = [path_in(photos.folder, photos.paths[place]) for place in found.places]
        others = Gallery.build(found.embeddings, photos.labels[rows], paths, photos.class_names, self.gallery.metric)
        others.thumbnails = Thumbnails.of(found.jpegs) if pictures else None
        others.attributes = Attributes.of(source.take(rows.numpy()).attributes)
        others.contents = self.contents.take(torch.tensor(self.places)[rows])
        others.roots, others.fingerprint = Roots.of(photos.folder, len(rows)), self.gallery.fingerprint
        return others

    def say_left_out(self) -> None:
        """Print what was not taken from the folder, and what could not be read, on stderr."""
        listed = [self.photos.source.left_out] if self.photos.source.left_out else []
        for line in [*listed, *(f"left out: {complaint}" for complaint in self.complaints)]:
            print(line, file=sys.stderr)  # noqa: T201

    def _network(self, device: "torch.device") -> "CarsTask":
        from carsfg.search.storage import NETWORK
        from carsfg.tasks.checkpoints import load
        from carsfg.tasks.fingerprint import fingerprint

        file = Path(self.options.gallery) / NETWORK
        if not file.is_file():
            raise InputError(f"the gallery {self.options.gallery} holds no network to embed photos with: index again")
        task = load(file, device)
        self.gallery.check_network(fingerprint(task))
        return task

    def _finder(self, photos: "CroppedImages", task: "CarsTask", bfloat16: bool) -> "BoxSource | None":
        """Decide how photos without a box are cut, as those of the gallery were, and say so."""
        from carsfg.commands.index_boxes import some_sizes
        from carsfg.search.box_choice import MODES, are_squares, choose_for_queries
        from carsfg.search.finders import box_line, make_finder

        asked, record = self.options.box, self.gallery.record
        if photos.crop:  # all of them have boxes, or are whole images by their table
            return None
        mode, reason = choose_for_queries(asked, record)
        if asked is None and record.data.get("box") not in MODES and are_squares(some_sizes(photos)):
            mode, reason = "none", "the images are squares of one size: taken as box crops"
        finder = make_finder(mode, task, bfloat16, self.options.detector_weights, asked is not None)
        line = box_line(mode, reason, finder, record, "the photos")
        if line:
            print(line, file=sys.stderr)  # noqa: T201
        return finder


def already_there(count: int) -> str:
    """Return how many images are not new, in words.

    Args:
        count: number of images that the gallery has already.
    """
    return f"{count:,} {'was' if count == 1 else 'were'} already there"


def _names(class_names: Sequence[str], labels: "torch.Tensor") -> list[str]:
    """Return the class of each image, as classes are compared."""
    from carsfg.data.sources.source import class_key

    return [class_key(class_names[label]) if class_names else str(label) for label in labels.tolist()]
