"""`pbrl list`: the names that other verbs take; each word is a module."""

from pbrl.commands.list.words import main

__all__ = ["main"]
