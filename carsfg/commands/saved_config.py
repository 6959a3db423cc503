"""The `config.yaml` of a run, which `carsfg fit --resume` starts from."""

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from carsfg.files import remove_abandoned, replacing


class SavedConfig(SaveConfigCallback):
    """Writes the configuration beside its place and renames it: the one of a resumed run is never lost.

    Lightning itself would empty the file first. That a folder holds another run is checked before, see `run_folder`.

    Args:
        *args: as Lightning's class takes them.
        **kwargs: as Lightning's class takes them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder of the run, a collective call, and write the file on the first process."""
        self.folder = Path(trainer.log_dir or trainer.default_root_dir)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, and delete what a killed process of this run was writing.

        Args:
            trainer: with its loggers, which name the folder of the run.
            pl_module: network of the run.
            stage: `fit`, `validate` or `test`.

        Raises:
            OSError: the file cannot be written.
        """
        if trainer.loggers:  # else the folder is not that of a run
            remove_abandoned(self.folder, 0)
        with replacing(self.folder / self.config_filename) as beside:
            self.parser.save(self.config, beside, skip_unset=False)
