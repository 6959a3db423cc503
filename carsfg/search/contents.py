"""Which images of a gallery are the same: checksums of their files, and their boxes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carsfg.data.box_table import BoxTable
from carsfg.data.cropped_images import CroppedImages
from carsfg.data.image_io import Box
from carsfg.data.sources.source import NO_BOX
from carsfg.data.threads import in_threads
from carsfg.files import DIGEST_BYTES, checksum

UNREAD = bytes(DIGEST_BYTES)  # checksum of an image whose file was not read: it equals no other


@dataclass(frozen=True, eq=False)
class Contents:
    """Files of N images. Two images are the same if their checksums and boxes are equal, or one has no box.

    Attributes:
        checksums: uint8 (N, 16), of each image's file; zeros where it is not known.
        boxes: int32 (N, 4), `x0, y0, x1, y1` in pixels of the file, from annotations or from a table; -1 for none. An
            image that is cut to a box which a network found has none: the file says it all.
    """

    checksums: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, digests: Sequence[bytes], boxes: Sequence[Box | None] | None = None) -> "Contents":
        """Pack checksums and boxes.

        Args:
            digests: 16 bytes for each image, as `carsfg.files.digest` gives them in hexadecimal.
            boxes: of the images; None for images without boxes.
        """
        sums = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES).copy()
        rows = [box or NO_BOX for box in boxes or [None] * len(digests)]
        return cls(torch.from_numpy(sums), torch.tensor(rows, dtype=torch.int32).view(-1, 4))

    @classmethod
    def unknown(cls, count: int) -> "Contents":
        """Return that nothing is known of some images: each of them is new.

        Args:
            count: number of images.
        """
        return cls.of([UNREAD] * count)

    def __len__(self) -> int:
        return len(self.checksums)

    def take(self, rows: Tensor) -> "Contents":
        """Return the contents of some images.

        Args:
            rows: int64 (M,), places of the images.
        """
        return Contents(self.checksums[rows], self.boxes[rows])

    def join(self, others: "Contents") -> "Contents":
        """Return the contents of all images, followed by those of others.

        Args:
            others: contents of the images that follow.
        """
        return Contents(torch.cat([self.checksums, others.checksums]), torch.cat([self.boxes, others.boxes]))

    def find(self, others: "Contents") -> Tensor:
        """Return the place of each of M other images among all N + M, int64 (M,); -1 for those that are new.

        Args:
            others: images that may be in the gallery already, or twice among themselves.
        """
        wanted = {sums.tobytes() for sums in others.checksums.numpy()} - {UNREAD}
        known: dict[bytes, list[tuple[int, Box]]] = defaultdict(list)
        for place in _candidates(self.checksums, others.checksums):
            if (key := self.checksums[place].numpy().tobytes()) in wanted:
                known[key].append((place, _box(self.boxes[place])))
        found = torch.full((len(others),), -1, dtype=torch.int64)
        for row, (sums, box) in enumerate(zip(others.checksums.numpy(), map(_box, others.boxes), strict=True)):
            same = [place for place, own in known[sums.tobytes()] if NO_BOX in (own, box) or own == box]
            if same:
                found[row] = same[0]
            elif sums.tobytes() in wanted:
                known[sums.tobytes()].append((len(self) + row, box))
        return found


def read_contents(paths: Sequence[Path], box_of: Callable[[int], Box | None], progress: bool = True) -> Contents:
    """Compute the checksums of files; those that cannot be read equal no other.

    Args:
        paths: files of the images.
        box_of: gives the box of an image by its place in `paths`; None for none.
        progress: show a progress bar.
    """

    def read(place: int) -> bytes:
        try:
            return bytes.fromhex(checksum(paths[place]))
        except OSError:
            return UNREAD

    digests = list(in_threads(read, len(paths), "comparing", progress))
    return Contents.of(digests, [box_of(place) for place in range(len(paths))])


def photo_contents(photos: CroppedImages, places: Sequence[int], table: BoxTable | None = None) -> Contents:
    """Compute the checksums of some images of a folder, with the boxes that they are cut to.

    Args:
        photos: images with their own boxes, if they have any.
        places: of the images in `photos`.
        table: boxes of further images by path.
    """

    def box_of(row: int) -> Box | None:
        own = photos.boxes[places[row]] if photos.crop and photos.boxes is not None else None
        if own is not None and _box(own) != NO_BOX:
            return _box(own)
        return table.find(photos.paths[places[row]]) if table else None

    return read_contents([photos.paths[place] for place in places], box_of)


def _box(row: Tensor) -> Box:
    x0, y0, x1, y1 = row.tolist()
    return x0, y0, x1, y1


def _candidates(own: Tensor, others: Tensor) -> list[int]:
    """Return the places whose first 8 bytes occur among others: few of many are looked at one by one."""
    first, wanted = (np.ascontiguousarray(sums[:, :8].numpy()).view(np.uint64)[:, 0] for sums in (own, others))
    places: list[int] = np.flatnonzero(np.isin(first, wanted)).tolist()
    return places
