"""Lightning callbacks, one class a file."""

from carsfg.callbacks.confusion_matrix import ConfusionMatrix
from carsfg.callbacks.epoch_lines import EpochLines
from carsfg.callbacks.gallery_writer import GalleryWriter
from carsfg.callbacks.mix_images import MixImages
from carsfg.callbacks.neighbour_panels import NeighbourPanels
from carsfg.callbacks.progressive_resolution import ProgressiveResolution, Size
from carsfg.callbacks.reuse_frozen_trunk import ReuseFrozenTrunk
from carsfg.callbacks.scalar_layout import ScalarLayout
from carsfg.callbacks.staged_unfreezing import Stage, StagedUnfreezing
from carsfg.callbacks.stamp import RunStamp

__all__ = [
    "ConfusionMatrix",
    "EpochLines",
    "GalleryWriter",
    "MixImages",
    "NeighbourPanels",
    "ProgressiveResolution",
    "ReuseFrozenTrunk",
    "RunStamp",
    "ScalarLayout",
    "Size",
    "Stage",
    "StagedUnfreezing",
]
