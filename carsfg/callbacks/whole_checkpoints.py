"""WholeCheckpoints: writes checkpoint files beside their place and renames them once they are on the disk."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from carsfg.errors import TrainingError
from carsfg.files import replacing, write_error


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's way to write checkpoint files, except that a local file is either as it was or complete.

    Lightning itself writes to the folder of temporary files first. If that is another file system, the file is then
    copied, and a process that is killed meanwhile leaves a part of it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: tensors and plain values.
            path: file to write; addresses of other file systems, such as `s3://`, are left to Lightning.
            storage_options: what other file systems need, such as credentials; unused for local files.

        Raises:
            TrainingError: the file cannot be written, for example because the disk is full.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            with replacing(path) as beside:
                torch.save(checkpoint, beside)
        except (OSError, RuntimeError) as error:  # torch.save raises a RuntimeError on a full disk
            said = f"cannot write the checkpoint {path}: {write_error(error)}; free space and resume the run"
            raise TrainingError(said) from error
