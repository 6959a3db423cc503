"""`carsfg data`: check a data folder, draw cars, or get Stanford Cars."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.data_check import CropOptions, check_photo_source, check_stanford_cars, write_sheet
from carsfg.commands.fetch import fetch_verb
from carsfg.commands.options import option, parse, positional, run_verb
from carsfg.commands.outputs import check_picture
from carsfg.commands.photo_options import PhotoForm
from carsfg.errors import InputError

if TYPE_CHECKING:
    from carsfg.data.sources.source import ImageSource

ROOT = "data"
USAGE = """usage: carsfg data VERB ...

  check     count, decode and compare all images of a data folder
  draw      draw cars in the layout of Stanford Cars
  fetch     list the sources of Stanford Cars, or get it from one of them

  carsfg data VERB --help    the arguments of a verb
"""


@dataclass(frozen=True, kw_only=True)
class PhotoOptions(CropOptions, PhotoForm):
    """How photos of one's own are read and cut."""

    def read(self, root: str) -> "ImageSource | None":
        """Read class folders or a table; None if `root` is Stanford Cars, or nothing that is known.

        Args:
            root: folder or table.

        Raises:
            InputError: they cannot be read, or a column has no such meaning.
        """
        from carsfg.data.sources.annotations import find_folder, holds_photos
        from carsfg.data.sources.any_source import read_photos
        from carsfg.data.sources.kaggle_cars import is_kaggle_cars

        try:
            find_folder(root)
        except InputError:
            if holds_photos(Path(root)) or is_kaggle_cars(Path(root)):
                return read_photos(root, self.images, self.table_columns(), self.class_level or 1)
        return None


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Count, decode and compare all images of Stanford Cars, of class folders, or of a table.

    Attributes:
        root: folder that contains `stanford_cars/` or class folders, or a table.
        data: how images are read and cut.
        sheet: picture to write.
    """

    root: str = positional("folder that contains stanford_cars/ or class folders, or a table", ROOT)
    data: PhotoOptions = field(default_factory=PhotoOptions)
    sheet: str | None = option("also draw some training images into this file, such as sheet.png", None)


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Draw cars in the layout of Stanford Cars.

    Attributes:
        folder: where to put `stanford_cars/`.
        classes: number of car models to draw, 2 to 196.
        train: training images per class.
        test: test images per class.
        seed: number that decides pose, colour and background of each drawn car.
        sheet: picture to write.
    """

    folder: str = positional("folder to put stanford_cars/ into")
    classes: int = option("number of classes, 2 to 196", 12)
    train: int = option("training images per class", 60)
    test: int = option("test images per class", 20)
    seed: int = option("another seed draws other cars", 0)
    sheet: str | None = option("also draw some training images into this file, such as sheet.png", None)


def main(args: Sequence[str]) -> int:
    """Run `carsfg data`.

    Args:
        args: the words after `carsfg data`.

    Returns:
        0 if the data is usable, 2 if images are unreadable.

    Raises:
        InputError: the arguments are wrong, or the data cannot be used.
    """
    return run_verb("data", {"check": _check_verb, "draw": _draw, "fetch": fetch_verb}, USAGE, args)


def _check_verb(args: Sequence[str]) -> int:
    options = parse("data check", CheckOptions, args)
    if options.sheet:
        check_picture(options.sheet)
    source = options.data.read(options.root)
    if source is not None:
        return 2 if check_photo_source(source, options.data.crop, options.sheet).unreadable else 0
    return 2 if check_stanford_cars(options.root, options.data.crop, options.sheet).unreadable else 0


def _draw(args: Sequence[str]) -> int:
    options = parse("data draw", DrawOptions, args)
    if options.sheet:
        check_picture(options.sheet)
    from carsfg.synthetic.dataset import DrawnCars, draw_cars

    spec = DrawnCars(classes=options.classes, train=options.train, test=options.test, seed=options.seed)
    print(f"drawn: {draw_cars(options.folder, spec)}")  # noqa: T201
    if options.sheet:
        from carsfg.data.stanford_cars_dataset import StanfordCars

        write_sheet(StanfordCars(options.folder, "train"), options.sheet)
    return 0
