"""Which errors say what is wrong with the settings or the machine, so that one line is enough."""

from __future__ import annotations

import errno

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from safetensors import SafetensorError

from distill.distributed.ending import is_lost_connection
from distill.models.loading import first_line
from distill.processor import is_out_of_memory
from distill.types import UserError

#: What is wrong with a disk, not with the program: no space, no quota, no permission, a file for a folder.
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
)


def environment_error(error: BaseException) -> Exception | None:
    """Return what says one clear line by itself: wrong settings, trouble with disk, memory or other processes."""
    if isinstance(error, MisconfigurationException):
        return error
    if isinstance(error, SafetensorError):
        return UserError(f"weights cannot be written or read: {first_line(error)}")
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return UserError(f"{error.filename}: {error.strerror}") if error.filename else error
    if is_out_of_memory(error):
        return UserError(
            "out of memory: halve data.batch_size (or data.max_tokens) and double trainer.accumulate_grad_batches, "
            "which trains alike; where a batch is one window already (data.max_tokens as small as data.max_length) "
            "lower data.max_length, of plain text data.block_length; in an evaluation lower data.eval_batch_size"
        )
    if is_lost_connection(error):
        return UserError(
            f"another process of this run has ended or does not answer; see what it says: {first_line(error)}"
        )
    return None
