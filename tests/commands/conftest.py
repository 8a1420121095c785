import io

import pytest
from rich.console import Console


@pytest.fixture
def terminal(monkeypatch):
    """Return what a terminal shows of the waiting."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200)
    monkeypatch.setattr("pbrl.commands.waiting.Console", lambda **options: console)
    return shown
