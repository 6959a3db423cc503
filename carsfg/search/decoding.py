"""From the files of a folder to batches for the network, decoded in threads while the network is at work."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from carsfg.data.box_table import BoxTable
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_folder import to_square
from carsfg.data.image_io import Box, check_box
from carsfg.data.photo import Photo, read_photo
from carsfg.data.threads import each_in_threads, in_threads
from carsfg.errors import InputError
from carsfg.search.box_choice import BoxSource
from carsfg.search.car_box import MAX_SIDE_PX, cut, shrink
from carsfg.search.thumbnails import encode

BATCHES_AHEAD = 2  # decoded images that wait: enough to form the next batch while the network embeds one


@dataclass(frozen=True)
class Decoded:
    """An image of the folder: its square, uint8 (3, S, S), and its JPEG file; or the photo to find the car in.

    `box` is in pixels of the file; `photo` is shrunk.
    """

    place: int
    square: Tensor | None = None
    jpeg: bytes = b""
    box: Box | None = None
    photo: Photo | None = None


@dataclass(frozen=True)
class Batch:
    """Images for one pass of the network.

    Attributes:
        squares: uint8 (B, 3, S, S); None where only complaints are left at the end of the folder.
        places: of the images in the folder.
        jpegs: small pictures of the images.
        boxes: of the images, in pixels of the file; None for images that were taken as they are.
        complaints: messages about images up to `stop` that could not be used.
        stop: place after the last image of the folder that this batch and those before have dealt with.
    """

    squares: Tensor | None
    places: list[int]
    jpegs: list[bytes]
    boxes: list[Box | None]
    complaints: list[str]
    stop: int


@dataclass(frozen=True)
class Decoding:
    """How the images of a folder become squares.

    Attributes:
        photos: images of the folder.
        size: side of the squares in pixels.
        finder: finds the car in images without a box; None takes them whole.
        table: boxes of images by path.
        pictures: also make small pictures.
    """

    photos: CroppedImages
    size: int
    finder: BoxSource | None = None
    table: BoxTable | None = None
    pictures: bool = True

    def decode(self, index: int) -> Decoded | InputError:
        """Decode one image, in a thread; it is resized at once unless the car in it is still to be found.

        Args:
            index: place in the folder.
        """
        path = self.photos.paths[index]
        box = self.table.find(path) if self.table else None
        try:
            data = self.photos.read(index)
            if box is None and self.finder is not None and not self.photos.crop:
                photo = read_photo(data, self.size, whole_px=MAX_SIDE_PX, name=str(path))
                if photo.size != (self.size, self.size):  # that is a crop already
                    return Decoded(index, photo=shrink(photo))
                return self._finished(index, photo.image, None)
            photo = read_photo(data, self.size, lambda *size: self._rectangle(index, size, box), name=str(path))
            return self._finished(index, photo.part(self._rectangle(index, photo.size, box)), box)
        except InputError as error:
            return error

    def _rectangle(self, index: int, size: tuple[int, int], box: Box | None) -> Box:
        """Return what is cut out of a file of this size: the box of the table inside that of the source."""
        x0, y0, x1, y1 = self.photos.rectangle(index, *size)
        if self.table is None or box is None:
            return x0, y0, x1, y1
        check_box(box, (x1 - x0, y1 - y0), self.table.name(self.photos.paths[index]))
        return x0 + box[0], y0 + box[1], x0 + box[2], y0 + box[3]

    def finish(self, some: list[Decoded]) -> list[Decoded]:
        """Find the cars in those that wait for it, and resize them.

        Args:
            some: images that `decode` returned.
        """
        waiting = [one for one in some if one.photo is not None]
        if not waiting or self.finder is None:
            return some
        found = cut(self.finder, [one.photo for one in waiting if one.photo is not None])
        parts = [(one.place, part, box) for one, (part, box) in zip(waiting, found, strict=True)]
        done = {one.place: one for one in each_in_threads(lambda part: self._finished(*part), parts)}
        return [done.get(one.place, one) for one in some]

    def _finished(self, place: int, image: Image.Image, box: Box | None) -> Decoded:
        return Decoded(place, to_square(image, self.size), encode(image) if self.pictures else b"", box)


def batches(decoding: Decoding, batch_size: int, progress: bool, start: int = 0) -> Iterator[Batch]:
    """Yield the images of a folder in batches; a batch depends on nothing but `start` and the images after it.

    Args:
        decoding: how images become squares.
        batch_size: images per batch.
        progress: show progress on stderr.
        start: place of the first image: 0, or `stop` of a batch of an earlier call.
    """
    some: list[Decoded] = []
    complaints: list[str] = []
    count = len(decoding.photos)
    # photos that wait for the finder are many times as large as squares
    ahead = batch_size * (BATCHES_AHEAD if decoding.finder is None else 1)
    for place, found in enumerate(in_threads(decoding.decode, count, "embedding", progress, ahead, start), start):
        if isinstance(found, InputError):
            complaints.append(str(found))
        else:
            some.append(found)
        if len(some) == batch_size or place == count - 1:
            yield _batch(decoding.finish(some), complaints, place + 1)
            some, complaints = [], []


def _batch(done: list[Decoded], complaints: list[str], stop: int) -> Batch:
    squares = [one.square for one in done if one.square is not None]
    return Batch(
        torch.stack(squares) if squares else None,
        [one.place for one in done],
        [one.jpeg for one in done],
        [one.box for one in done],
        complaints,
        stop,
    )
