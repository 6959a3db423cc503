"""Validation, test and prediction steps of a task, and the metrics of its head."""

from lightning import LightningModule
from torch import Tensor, nn

from carsfg.tasks.network import Batch, CarsNetwork


class ScoringSteps(CarsNetwork, LightningModule):  # whose `forward` comes before LightningModule's
    """Embeds and classifies batches outside training, and logs the metrics of each split."""

    # `ClassificationMetrics` by the name of the stage, `val_` and `test_`; empty for a network without a head
    metrics: nn.ModuleDict

    @property
    def scores_head(self) -> bool:
        """Whether there is a head that is scored; not in a zero-shot test, whose classes were not learned.

        A DataModule says so by `head_is_scored`; without that attribute the head is scored.
        """
        return self.has_head and getattr(getattr(self.trainer, "datamodule", None), "head_is_scored", True)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `embedding` (B, D) and, with a head, `logits` (B, C); loader 0 is scored, the other is a gallery."""
        return self._evaluate(batch, "val" if dataloader_idx == 0 else None)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return the same as `validation_step`, on the test split."""
        return self._evaluate(batch, "test" if dataloader_idx == 0 else None)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return `embedding` (B, D), `logits` (B, C) and `index` (B,)."""
        return {**self._evaluate(batch, None), "index": batch["index"]}

    def on_validation_epoch_end(self) -> None:
        """Log `val/...`."""
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        """Log `test/...`."""
        self._log_metrics("test")

    def _evaluate(self, batch: Batch, stage: str | None) -> dict[str, Tensor]:
        embedding = self.embed(batch)
        if not self.has_head:
            return {"embedding": embedding}
        logits = self.classify(embedding).float()
        if stage and self.scores_head:
            self.metrics[f"{stage}_"].update(logits, batch["label"])  # type: ignore[operator]
        return {"embedding": embedding, "logits": logits}

    def _log_metrics(self, stage: str) -> None:
        if self.scores_head:
            metrics = self.metrics[f"{stage}_"]
            values = {f"{stage}/{name}": value for name, value in metrics.compute().items()}  # type: ignore[operator]
            self.log_dict(values, sync_dist=True)
            self.log(f"{stage}_top1", values[f"{stage}/top1"], prog_bar=True, logger=False, sync_dist=True)
            metrics.reset()  # type: ignore[operator]
