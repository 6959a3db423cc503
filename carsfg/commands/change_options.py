"""Options of `carsfg index` that change a gallery: `--add`, `--remove`, `--merge` and `--root`."""

from dataclasses import dataclass, field
from typing import Literal

from carsfg.commands.boxing import Boxing
from carsfg.commands.options import DeviceOptions, option, positional
from carsfg.commands.photo_options import PhotoForm

CHANGES = {"--add", "--remove", "--merge", "--root"}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes of a gallery, one at a time.

    Attributes:
        add: folder or table of new photos.
        remove: class name, or pattern of paths.
        merge: folder of another gallery.
        root: where the photos lie now.
    """

    add: str | None = option("folder or table of photos to add: carsfg index GALLERY --add FOLDER", None)
    remove: str | None = option(
        "class, or pattern of paths such as 'Audi/*', to remove: carsfg index GALLERY --remove PATTERN", None
    )
    merge: str | None = option("gallery whose images are added: carsfg index GALLERY --merge OTHER", None)
    root: str | None = option(
        "folder where the gallery's photos lie now, or OLD=NEW if they lie in several: carsfg index GALLERY --root DIR",
        None,
    )


@dataclass(frozen=True, kw_only=True)
class ChangeOptions(Changes, Boxing, DeviceOptions):
    """Change a gallery: add photos, remove some, merge another gallery, or say where its photos lie now.

    Photos are read, cut and embedded as those of the gallery, by the network in the gallery. A photo that is there
    already is not embedded again: the checksums of its file and its box say so. The gallery is replaced in one step:
    after an error or a kill it is as it was. One of --add, --remove, --merge and --root is given.

    Attributes:
        gallery: folder that `carsfg index` or `carsfg predict` wrote.
        data: how folder or table are read.
        split: of the photos, where they have splits.
        factory: FAISS's description of the index.
        calibrate: folder or table of further photos.
        batch_size: images at a time.
    """

    gallery: str = positional("folder that `carsfg index` or `carsfg predict` wrote")
    data: PhotoForm = field(default_factory=PhotoForm)
    split: Literal["train", "val", "test"] | None = option("one split of the photos; by default all of them", None)
    factory: str | None = option(
        "FAISS's description of the index to build anew; by default the index stays as it is, learns anew at each "
        "doubling, and becomes IVF above 100,000 images",
        None,
    )
    calibrate: str | None = option(
        "folder or table of other photos of the same classes, which set the p-values that separate known from unknown; "
        "by default the gallery's own images do, if they did before",
        None,
    )
    batch_size: int = option("images at a time", 64)
