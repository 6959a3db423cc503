"""Options of `carsfg embed`."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from carsfg.commands.index_options import ImageSetOptions, IndexOptions
from carsfg.commands.options import NETWORK, option, positional
from carsfg.errors import InputError


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(ImageSetOptions):
    """Write embeddings to a file that vector databases and data frames read.

    `carsfg embed CHECKPOINT PHOTOS --output e.parquet` embeds all images of a folder or table, which is read and cut as
    by `carsfg index`. `carsfg embed GALLERY --output e.parquet` writes those that a gallery holds, without its network.
    The columns are path, label, the attributes, and embedding; a name that ends in .npy gives the embeddings alone,
    with the other columns in a .csv file beside it. Embeddings that are compared by cosine have length 1.

    Attributes:
        source: checkpoint, name of a pretrained network, or gallery.
        photos: folder or table.
        output: file to write.
        overwrite: replace files.
    """

    source: str = positional(f"{NETWORK}; or the folder of a gallery")
    photos: str | None = positional(
        "with a checkpoint: folder that contains stanford_cars/, class folders or images, or a table", None
    )
    output: str = option("file to write, .parquet or .npy")
    overwrite: bool = option("replace the file that exists at --output", False)

    def as_index(self) -> IndexOptions:
        """Return the options by which `carsfg index` reads the same images."""
        shared: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(ImageSetOptions)}
        return IndexOptions(checkpoint=self.source, folder=str(self.photos), output=self.output, **shared)

    def check_gallery(self) -> None:
        """Refuse options that a gallery, whose images are embedded already, has no use for.

        Raises:
            InputError: photos are named, or one of the options is given that `carsfg index` has as well.
        """
        written = f"{self.source!r} is a gallery, whose embeddings are written as they are"
        if self.photos is not None:
            raise InputError(f"{written}: leave {self.photos!r} out, or name a checkpoint")
        given = next(_given(self, ImageSetOptions), None)
        if given is not None:
            raise InputError(f"--{given} is for photos, but {written}: leave it out")


def _given(options: Any, kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of options that are not at their defaults, those of blocks included."""
    for one in fields(kind):
        value = getattr(options, one.name)
        if is_dataclass(value):
            yield from _given(value, type(value), f"{prefix}{one.name}.")
        elif value != one.default:
            yield prefix + one.name
