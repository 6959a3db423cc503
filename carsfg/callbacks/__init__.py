"""Lightning callbacks, one class a file."""

from carsfg.callbacks.confusion_matrix import ConfusionMatrix
from carsfg.callbacks.stamp import RunStamp
from carsfg.callbacks.staged_unfreezing import Stage, StagedUnfreezing

__all__ = ["ConfusionMatrix", "RunStamp", "Stage", "StagedUnfreezing"]
