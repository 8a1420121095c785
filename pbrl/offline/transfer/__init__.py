"""Labels carried from one task to another."""

from pbrl.offline.transfer.transfer import (
    AmbiguousAlignmentError,
    TransferConfig,
    Transferred,
    transfer_labels,
)
from pbrl.offline.transfer.transport import TransportConfig

__all__ = [
    "AmbiguousAlignmentError",
    "TransferConfig",
    "Transferred",
    "TransportConfig",
    "transfer_labels",
]
