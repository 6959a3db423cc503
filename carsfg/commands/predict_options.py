"""Options of `carsfg predict` for photos without labels."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from carsfg.commands.boxing import Boxing
from carsfg.commands.options import NETWORK, Inference, PretrainedWeights, option, positional

if TYPE_CHECKING:
    from carsfg.commands.index_options import IndexOptions


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Boxing, PretrainedWeights, Inference):
    """Classify photos without labels, and write a CSV file with a row per photo.

    `carsfg predict CHECKPOINT PHOTO ...` writes the path of each photo and its five most probable classes; with
    --gallery also the k-NN vote, the nearest image, and the p-value of "a car like those in the gallery". Image size,
    precision and box are those of the run that made the checkpoint; options replace them.

    The second form, `carsfg predict --config NAME --ckpt_path=CHECKPOINT`, writes embeddings and logits of the test
    split of a data set, and a gallery of them, to the folder of its run; `carsfg predict --config NAME --help` lists
    its options.

    Attributes:
        checkpoint: file that `carsfg fit` wrote, or the name of a pretrained network.
        photos: files, folders or `-`.
        gallery: folder of a gallery that the same network made.
        output: file to write.
        overwrite: replace a file.
    """

    checkpoint: str = positional(NETWORK)
    photos: tuple[str, ...] = positional(
        "files, or folders with images at any depth; - reads paths from standard input", nargs="+", metavar="PHOTO"
    )
    gallery: str | None = option("gallery of the same network, as `carsfg index` writes it: vote, nearest image", None)
    output: str = option("CSV file to write", "predictions.csv")
    overwrite: bool = option("replace the file that exists at --output", False)

    def as_index(self, folder: Path) -> "IndexOptions":
        """Return the options by which `carsfg index` reads the same photos: its rules for box and precision hold here.

        Args:
            folder: folder or file that messages name.
        """
        from carsfg.commands.index_options import IndexOptions

        shared = {one.name: getattr(self, one.name) for kind in (Boxing, Inference) for one in fields(kind)}
        return IndexOptions(checkpoint=self.checkpoint, folder=str(folder), output=self.output, **shared)
