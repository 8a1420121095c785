"""`pbrl dataset`: datasets described."""

from pbrl.commands.dataset.words import main

__all__ = ["main"]
