"""Embedding photos as `carsfg index`, `embed` and `predict` do it: by the same settings, boxes and finder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.index_boxes import choose_box, say_boxed
from carsfg.commands.index_options import IndexOptions, Settings

if TYPE_CHECKING:
    from carsfg.data.box_table import BoxTable
    from carsfg.data.cropped_images import CroppedImages
    from carsfg.run_record import RunRecord
    from carsfg.search.box_choice import BoxSource
    from carsfg.search.embedded import EmbeddedPhotos
    from carsfg.tasks.base import CarsTask


@dataclass(frozen=True)
class PhotoEmbedder:
    """A network, and how it takes the photos of a command line.

    Attributes:
        task: network that embeds the photos.
        record: of the run that made the checkpoint.
        use: settings of the images.
        options: parsed command line.
        box: how the photos are cut, see `carsfg.search.box_choice`.
        finder: finds the car in photos without a known box; None takes them as they are.
        table: boxes by path.
    """

    task: "CarsTask"
    record: "RunRecord"
    use: Settings
    options: IndexOptions
    box: str
    finder: "BoxSource | None"
    table: "BoxTable | None"

    @classmethod
    def choose(
        cls,
        options: IndexOptions,
        photos: "CroppedImages",
        folder: Path | None,
        task: "CarsTask",
        record: "RunRecord",
        use: Settings,
    ) -> "PhotoEmbedder":
        """Choose how the photos are cut, and say so in one line on stderr.

        Args:
            options: parsed command line.
            photos: images of the folder or table, with their own boxes if they have any.
            folder: that paths in `--boxes` are relative to; None for the working folder.
            task: network that embeds the photos.
            record: of the run that made the checkpoint.
            use: settings of the images.

        Raises:
            InputError: the table of boxes cannot be read, or options contradict each other.
        """
        from carsfg.data.box_table import BoxTable

        table = BoxTable.read(options.boxes, folder) if options.boxes else None
        box, finder = choose_box(options, photos, record, task, use.bfloat16, use.crop)
        return cls(task, record, use, options, box, finder, table)

    def embed(self, photos: "CroppedImages", keep: Path | None = None, pictures: bool = False) -> "EmbeddedPhotos":
        """Embed photos, and say how many were cut to a box.

        Args:
            photos: those that the choice was made for.
            keep: folder for what is done, see `carsfg.search.build.embed_photos`.
            pictures: also make small pictures.

        Raises:
            InputError: none can be decoded, or the table has no box for any of them.
        """
        embedded = self.embed_others(photos, False, keep, pictures)
        if self.finder is not None or self.table is not None:
            say_boxed(embedded, self.options.boxes)
        return embedded

    def embed_others(
        self, photos: "CroppedImages", are_cut: bool, keep: Path | None = None, pictures: bool = False
    ) -> "EmbeddedPhotos":
        """Embed photos without a line about boxes.

        Args:
            photos: of the same network, such as those that calibrate a gallery.
            are_cut: no car is to be found in them.
            keep: folder for what is done, see `carsfg.search.build.embed_photos`.
            pictures: also make small pictures.

        Raises:
            InputError: none can be decoded.
        """
        from carsfg.search.build import embed_photos

        return embed_photos(
            self.task, photos, self.use.image_size, self.use.bfloat16, self.options.batch_size,
            finder=None if are_cut else self.finder, table=self.table, keep=keep, pictures=pictures,
        )  # fmt: skip

    @property
    def gallery_record(self) -> "RunRecord":
        """The record of a gallery of these photos."""
        from carsfg.search.box_choice import TABLE

        return self.use.record(self.record, TABLE if self.table and not self.finder else self.box)


def say_use(record: "RunRecord", use: Settings, photos: "CroppedImages") -> None:
    """Print which settings are those of the run, on stderr.

    Args:
        record: of the run that made the checkpoint.
        use: settings of the images.
        photos: images of the folder or table.
    """
    from carsfg.commands.run_data import say_settings

    boxes = {"crop": use.crop, "margin": use.margin} if photos.boxes is not None else {}
    say_settings(record, boxes | {"image_size": use.image_size}, metric=use.metric, precision=use.precision)
