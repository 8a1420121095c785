"""`pbrl label study`: make studies for people, invite them, and take out what they said."""

from collections.abc import Sequence

from pbrl.commands.groups import run_group

WORDS = {
    "create": ("pbrl.commands.label.study.create", "start a study and invite people"),
    "invite": ("pbrl.commands.label.study.invite", "make links for people, or new ones"),
    "revoke": ("pbrl.commands.label.study.revoke", "take somebody's link back"),
    "report": ("pbrl.commands.label.study.report", "progress, people and their agreement"),
    "export": ("pbrl.commands.label.study.export", "write what people said to a file"),
}


def main(arguments: Sequence[str]) -> int | None:
    """Run `pbrl label study` with the words after it."""
    return run_group("pbrl label study", "Studies that people label in.", WORDS, arguments)
