"""Several seeds of one run: how they are written, and where each goes."""

import re
from collections.abc import Sequence
from pathlib import Path

from pbrl.checks import check_seed

RANGE = re.compile(r"(\d+):(\d+)")


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of "0:16", from 0 to 15, or of "0,3,5".

    Raises:
        ValueError: if that is neither, no seed at all, or one of them comes twice.
    """
    if found := RANGE.fullmatch(text):
        first, end = map(int, found.groups())
        seeds = tuple(range(first, end))
    elif re.fullmatch(r"\d+(,\d+)*", text):
        seeds = tuple(map(int, text.split(",")))
    else:
        seeds = ()
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"seeds must be a range such as 0:16, or different numbers such as 0,3,5, got {text!r}"
        )
    return seeds


def check_seeds(seeds: str | None, seed: int, *, video: bool) -> None:
    """Refuse what is no seed, and options that do not go with several.

    Raises:
        ValueError: naming them.
    """
    check_seed(seed)
    if seeds is None:
        return
    parse_seeds(seeds)
    if seed != 0:
        raise ValueError(f"give --seed or --seeds, not both: got {seed} and {seeds}")
    if video:
        raise ValueError("--video is for one seed: `pbrl evaluate FOLDER --video auto` makes one")


def seed_folders(folder: Path, seeds: Sequence[int]) -> dict[int, Path]:
    """Return the folder of each seed's run: the given one, with the seed at the end of its name."""
    return {seed: folder.with_name(f"{folder.name}-{seed}") for seed in seeds}


def run_folders(folder: Path, seed: int, seeds: str | None) -> dict[int, Path]:
    """Return the folder of each run by its seed: the given one where there is one seed."""
    return {seed: folder} if seeds is None else seed_folders(folder, parse_seeds(seeds))
