"""Options of `carsfg index`, and the settings that they and the run of the checkpoint make together."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from carsfg.commands.boxing import Boxing
from carsfg.commands.change_options import Changes
from carsfg.commands.options import NETWORK, Embedding, PretrainedWeights, option, positional
from carsfg.commands.photo_options import PhotoForm
from carsfg.errors import InputError

if TYPE_CHECKING:
    import torch

    from carsfg.data.cropped_images import CroppedImages
    from carsfg.data.sources.source import Part
    from carsfg.run_record import RunRecord
    from carsfg.tasks.base import CarsTask

VERIFY_TEXT = "check the files of a gallery by their checksums, and write nothing: carsfg index --verify GALLERY"


@dataclass(frozen=True, kw_only=True)
class ImageOptions(PhotoForm):
    """How images are read, cut and stored.

    Attributes:
        crop: cut images to the boxes of Stanford Cars or of the table.
        margin: fraction of the box that is added on each side.
        image_size: side of the squares that images are resized to first, in pixels.
    """

    crop: bool | None = option("cut images to the boxes of Stanford Cars or of the table", None)
    margin: float | None = option("fraction of the box that is added on each side", None)
    image_size: int | None = option("side of the squares that images are resized to first, in pixels", None)


@dataclass(frozen=True, kw_only=True)
class ImageSetOptions(Boxing, PretrainedWeights, Embedding):
    """Which images of a folder or table are embedded, and how: options that `carsfg index` and `embed` share.

    Attributes:
        data: settings that replace those of the run.
        split: of the images, where they have splits.
    """

    data: ImageOptions = field(default_factory=ImageOptions)
    split: Literal["train", "val", "test"] | None = option("one split of the images; by default all of them", None)


@dataclass(frozen=True, kw_only=True)
class IndexOptions(Changes, ImageSetOptions):
    """Embed all images of a folder or table, to search in.

    Stanford Cars is recognised by its annotations. All else is read as for training: class folders, with or without
    splits, or a table (.csv, .parquet, .jsonl) with the columns path and label. A folder of images without sub-folders
    is one class. Box crop, image size, metric and precision are those of the run that made the checkpoint; options
    replace them. A pretrained network needs no training: it takes images as its weights were trained.

    Attributes:
        checkpoint: file that `carsfg fit` wrote, or the name of a pretrained network.
        folder: directory with images, or a table.
        output: folder of the gallery.
        overwrite: replace a gallery.
        factory: FAISS's description of the index.
        calibrate: folder or table of further photos.
        verify: see `VerifyOptions`.
    """

    checkpoint: str = positional(NETWORK)
    folder: str = positional("folder that contains stanford_cars/, class folders or images, or a table")
    output: str = option("folder of the gallery, to create")
    overwrite: bool = option("replace the gallery that exists at --output", False)
    factory: str | None = option(
        "FAISS's description of the index; by default Flat, which is exact, or IVF above 100,000 images", None
    )
    calibrate: str | None = option(
        "folder or table of other photos of the same classes, used neither in training nor in the gallery; sets the "
        "p-values that separate known from unknown; by default the gallery's own images",
        None,
    )
    verify: str | None = option(VERIFY_TEXT, None)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Check the files of a gallery by their checksums, and write nothing.

    Attributes:
        verify: folder of the gallery.
    """

    verify: str = option("folder of the gallery")


@dataclass(frozen=True)
class Settings:
    """How a gallery's images are embedded and compared.

    Attributes:
        crop: cut images to the boxes of Stanford Cars or of the table.
        margin: fraction of the box that is added on each side.
        image_size: side of the squares that images are resized to first, in pixels.
        metric: how embeddings are compared.
        precision: in Lightning's terms.
        class_level: which folder names the class.
    """

    crop: bool
    margin: float
    image_size: int
    metric: Literal["cosine", "euclidean"]
    precision: str
    class_level: int

    @property
    def bfloat16(self) -> bool:
        """Whether the network runs in bfloat16 autocast."""
        return self.precision.startswith("bf16")

    def find_photos(self, path: str, form: PhotoForm, split: "Part | None" = None) -> "CroppedImages":
        """Find the images of a folder or table.

        Args:
            path: of the folder or table.
            form: how it is read.
            split: of the images; None for all.

        Raises:
            InputError: they cannot be read.
        """
        from carsfg.data.image_folder import find_photos

        return find_photos(path, self.crop, self.margin, split, form.images, form.table_columns(), self.class_level)

    @classmethod
    def choose(cls, options: IndexOptions, record: "RunRecord", task: "CarsTask", device: "torch.device") -> "Settings":
        """Take settings from the options, or else from the run.

        Args:
            options: parsed command line.
            record: of the run that made the checkpoint.
            task: network that embeds the images.
            device: where the embeddings are computed.

        Raises:
            InputError: the image size is out of range.
        """
        from carsfg.data.crop_cache import MAX_CROP_SIDE
        from carsfg.hardware import choose_precision
        from carsfg.search.engine import input_size

        given, run = options.data, record.data
        if given.image_size is not None and not 1 <= given.image_size <= MAX_CROP_SIDE:
            raise InputError(f"--data.image_size {given.image_size} must be 1 to {MAX_CROP_SIDE} pixels")
        return cls(
            crop=bool(run.get("crop", True)) if given.crop is None else given.crop,
            margin=float(run.get("margin", 0.0)) if given.margin is None else given.margin,
            image_size=given.image_size or input_size(record, task),
            metric=options.metric or record.metric or "cosine",  # type: ignore[arg-type]
            precision=choose_precision(device.type, options.precision, record.trained_precision),
            class_level=given.class_level or int(run.get("class_level", 1)),
        )

    def record(self, run: "RunRecord", box: str) -> "RunRecord":
        """Return the record of a gallery: the run's, with these settings.

        Args:
            run: record of the run that made the checkpoint.
            box: how the images were cut, see `carsfg.search.box_choice`.
        """
        from carsfg.run_record import RETRIEVAL
        from carsfg.search.box_choice import learned_from

        images = {"crop": self.crop, "margin": self.margin, "image_size": self.image_size}
        return replace(
            run,
            data=run.data | images | {"learned_from": learned_from(run), "box": box},
            callbacks=run.callbacks | {RETRIEVAL: run.callbacks.get(RETRIEVAL, {}) | {"metric": self.metric}},
            trainer=run.trainer | {"precision": self.precision},
        )
