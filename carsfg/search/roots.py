"""Where the photos of a gallery lie: the folders that its paths begin at."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carsfg.errors import InputError

UNKNOWN = -1  # code of an image whose folder is not known


@dataclass(frozen=True, eq=False)
class Roots:
    """The folder of each image's path; most galleries have one for all images.

    Attributes:
        folders: absolute paths of the R folders.
        codes: int32 (N,), for each image the place of its folder in `folders`; -1 where it is not known.
    """

    folders: Sequence[str] = ()
    codes: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int32))

    @classmethod
    def of(cls, folder: str | Path, count: int) -> "Roots":
        """Return one folder for all images.

        Args:
            folder: that the paths begin at.
            count: number of images.
        """
        return cls([os.path.abspath(folder)], torch.zeros(count, dtype=torch.int32))  # noqa: PTH100 - links stay

    @classmethod
    def unknown(cls, count: int) -> "Roots":
        """Return that nothing is known of some images.

        Args:
            count: number of images.
        """
        return cls((), torch.full((count,), UNKNOWN, dtype=torch.int32))

    def at(self, place: int) -> Path | None:
        """Return the folder of an image's path; None if it is not known.

        Args:
            place: of the image, 0..N-1.
        """
        code = int(self.codes[place]) if len(self.codes) else UNKNOWN
        return Path(self.folders[code]) if code >= 0 else None

    def take(self, rows: Tensor) -> "Roots":
        """Return the folders of some images; folders that hold none of them are forgotten.

        Args:
            rows: int64 (M,), places of the images.
        """
        used, places = np.unique(self.codes[rows].numpy(), return_inverse=True)
        known = [self.folders[code] for code in used.tolist() if code >= 0]
        return Roots(known, torch.from_numpy(places).int() - (len(used) - len(known)))

    def join(self, others: "Roots") -> "Roots":
        """Return the folders of all images, followed by those of others.

        Args:
            others: folders of the images that follow.
        """
        folders = list(dict.fromkeys([*self.folders, *others.folders]))
        new = torch.tensor([*(folders.index(one) for one in others.folders), UNKNOWN], dtype=torch.int32)
        return Roots(folders, torch.cat([self.codes, new[others.codes.long()]]))

    def moved(self, new: str | Path, old: str | Path | None = None) -> "Roots":
        """Return the folders after one of them was moved.

        Args:
            new: where the photos are now.
            old: where they were; None if there is one folder only.

        Raises:
            InputError: the folder is unknown, or the gallery has several folders and `old` is None.
        """
        known = ", ".join(self.folders) or "none"
        if old is None and len(self.folders) != 1:
            raise InputError(f"the gallery has photos in {len(self.folders)} folders, name the old one, too: {known}")
        gone = self.folders[0] if old is None else os.path.abspath(old)  # noqa: PTH100
        if gone not in self.folders:
            raise InputError(f"the gallery has no photos in {gone}, but in {known}")
        folders = [os.path.abspath(new) if one == gone else one for one in self.folders]  # noqa: PTH100
        return Roots((), self.codes[:0]).join(Roots(folders, self.codes))

    def relative_to(self, gallery: Path) -> list[str]:
        """Return the folders as a gallery stores them, so that it can be moved together with its photos.

        Args:
            gallery: folder of the gallery, absolute.
        """
        return [_relative(folder, gallery) for folder in self.folders]

    @classmethod
    def read(cls, stored: Sequence[str], codes: Tensor, gallery: Path) -> "Roots":
        """Return what `relative_to` stored.

        Args:
            stored: the folders, relative to the gallery's folder or absolute.
            codes: see `Roots`.
            gallery: folder of the gallery, with links followed.
        """
        return cls([os.path.normpath(gallery / one) for one in stored], codes)


def _relative(folder: str, gallery: Path) -> str:
    try:
        return Path(os.path.relpath(folder, gallery)).as_posix()
    except ValueError:  # on another drive of Windows
        return folder
