"""Silence about what nobody can act on."""

from __future__ import annotations

import logging
import warnings

import transformers


def quieten_libraries() -> None:
    """Switch off what libraries say about themselves and nobody can act on."""
    transformers.utils.logging.disable_progress_bar()  # two bars for files of a few megabytes
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
    for message in (
        r".*isinstance\(treespec, LeafSpec\)",  # Lightning's own use of a deprecated torch function
        r".*is not supported by the model summary",  # the summary counts parameters all the same
        r".*does not have many workers",  # windows are read from memory-mapped files, faster than workers start
        r".*predict returned None",  # answers go into a file
        r".*The dirpath has changed from",  # a checkpoint of another run's folder is what was asked for
        r".*Checkpoint directory .* exists and is not empty",  # a run that goes on in its folder
        r".*skip_none parameter was deprecated",  # Lightning's own call of jsonargparse
        r".*It is recommended to use `self.log\('(val|test)/.*sync_dist",  # scores are equal on every process already
    ):
        warnings.filterwarnings("ignore", message)
