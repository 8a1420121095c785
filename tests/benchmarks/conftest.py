import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a module of the benchmark, as the script sees it."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module
