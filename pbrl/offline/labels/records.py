"""Tables made from feedback records."""

import numpy as np
import torch

from pbrl.feedback import FeedbackStore
from pbrl.offline.labels.table import LabelTable


def record_table(store: FeedbackStore, source: str) -> LabelTable:
    """Return the answers of a record that count: of one annotator and query the last one.

    Args:
        store: the record.
        source: its file, for messages.
    """
    state = store.state_dict()
    query, annotator = state["answered"].cpu(), state["annotator"].cpu()
    key = (query * max(1, len(state["names"])) + annotator).numpy()
    _, from_the_end = np.unique(key[::-1], return_index=True)
    rows = torch.from_numpy(np.sort(len(key) - 1 - from_the_end))
    segments = state["index"].cpu()[:, query[rows]].permute(1, 2, 0)  # [answer, two, 3]
    return LabelTable(
        segments=segments.numpy(),
        named_by="episodes",
        labels=state["labels"].cpu()[rows].double().numpy(),
        weights=state["weights"].cpu()[rows].double().numpy(),
        annotators=tuple(state["names"][place] for place in annotator[rows].tolist()),
        source=source,
        num_pending=len(store.pending()),
        times=state["times"][rows].numpy(),
        notes=tuple(store.notes),
        identity=store.dataset,
    )
