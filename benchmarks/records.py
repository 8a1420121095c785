"""The records of programs that measure something once, without a suite."""

import json
from pathlib import Path
from typing import Any

from pbrl.training.machine import commit, machine, versions


def read_record(path: Path) -> dict[str, Any]:
    """Return what `write_record` wrote.

    Raises:
        FileNotFoundError: if there is no record, saying how to make it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no record {path}: measure first, without --page-only, or name it"
        )
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


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
