"""`pbrl label`: import, export and judge labels; each word is a module."""

from pbrl.commands.label.words import main

__all__ = ["main"]
