"""Lightning callbacks, one class a file."""

from carsfg.callbacks.check_memory import CheckMemory
from carsfg.callbacks.check_monitors import CheckMonitors
from carsfg.callbacks.confusion_matrix import ConfusionMatrix
from carsfg.callbacks.epoch_summary import EpochSummary
from carsfg.callbacks.gallery_writer import GalleryWriter
from carsfg.callbacks.mixup_cutmix import MixupCutmix
from carsfg.callbacks.neighbour_panels import NeighbourPanels
from carsfg.callbacks.predictions import WritePredictions
from carsfg.callbacks.progressive_resolution import ProgressiveResolution, Size
from carsfg.callbacks.record_run import RecordRun
from carsfg.callbacks.reuse_frozen_backbone import ReuseFrozenBackbone
from carsfg.callbacks.save_within_epochs import SaveWithinEpochs
from carsfg.callbacks.scalar_layout import ScalarLayout
from carsfg.callbacks.staged_unfreezing import Stage, StagedUnfreezing

# callbacks of every run
DEFAULT_CALLBACKS = (
    ReuseFrozenBackbone,
    EpochSummary,
    ConfusionMatrix,
    NeighbourPanels,
    GalleryWriter,
    ScalarLayout,
    WritePredictions,
)

__all__ = [
    "DEFAULT_CALLBACKS",
    "CheckMemory",
    "CheckMonitors",
    "ConfusionMatrix",
    "EpochSummary",
    "GalleryWriter",
    "MixupCutmix",
    "NeighbourPanels",
    "ProgressiveResolution",
    "RecordRun",
    "ReuseFrozenBackbone",
    "SaveWithinEpochs",
    "ScalarLayout",
    "Size",
    "Stage",
    "StagedUnfreezing",
    "WritePredictions",
]
