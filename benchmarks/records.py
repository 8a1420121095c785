"""The records of programs that measure something once, without a suite."""

import json
from pathlib import Path
from typing import Any

from pbrl.training.machine import commit, machine, versions


def write_record(path: Path, **found: Any) -> dict[str, Any]:
    """Write what was found as JSON, with where and by what it was; return it.

    Args:
        path: of the file; its folder is made.
        found: entries of the record, as they shall stand in it.
    """
    record = {
        "schema": 1,
        **found,
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record
