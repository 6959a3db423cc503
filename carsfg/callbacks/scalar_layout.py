"""TensorBoard's custom scalars: training and validation in one chart."""

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from carsfg.callbacks.observer import Observer

LAYOUT = {
    "train and val": {
        "top-1": ["Multiline", ["train/top1", "val/top1"]],
        "loss": ["Multiline", ["train/loss", "val/loss"]],
    },
    "classification": {
        "precision, recall, F1 (weighted)": [
            "Multiline", ["val/precision_weighted", "val/recall_weighted", "val/f1_weighted"],
        ],
        "precision, recall, F1 (macro)": [
            "Multiline", ["val/precision_macro", "val/recall_macro", "val/f1_macro"],
        ],
        "make, body, year, and top-1": ["Multiline", ["val/make", "val/body", "val/year", "val/top1"]],
    },
    "retrieval": {
        "top-k": ["Multiline", ["val/retrieval/top_1", "val/retrieval/top_5", "val/retrieval/top_10"]],
        "MAP@R, mAP, R-precision": [
            "Multiline", ["val/retrieval/map_at_r", "val/retrieval/map", "val/retrieval/r_precision"],
        ],
        "k-NN": ["Multiline", [r"val/retrieval/knn_\d+$"]],
    },
}  # fmt: skip


class ScalarLayout(Observer):
    """Write the layout of TensorBoard's custom scalars when training starts; other loggers have no such layout."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the layout, once per run."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment.add_custom_scalars(LAYOUT)
