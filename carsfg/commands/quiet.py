"""Warnings of Lightning that do not concern users."""

import logging
import warnings


def drop_irrelevant_warnings() -> None:
    """Drop warnings of Lightning that do not concern users."""
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # our default is measured, not forgotten
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # we log by the epoch
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", ".*It is recommended to use `self.log.*sync_dist.*")  # all processes log the same
    warnings.filterwarnings("ignore", ".*not supported by the model summary.*")
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # frozen modules are meant to be
    warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")  # made before its loggers
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")  # val: none
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "\N{ELECTRIC LIGHT BULB}" not in record.getMessage()  # advertisements
    )
