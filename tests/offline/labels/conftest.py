import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The published label files, where somebody has put them."""
    folder = Path(os.environ.get("PBRL_DATA", BESIDE))
    if not (folder / "human_labels").is_dir():
        pytest.skip(f"the published label files are not in {folder}; PBRL_DATA names their folder")
    return folder
