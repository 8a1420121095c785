"""Where suites lie, and which there are."""

from pathlib import Path

from pbrl.lookup import suggest

SUITES = Path("benchmarks") / "suites"  # of a checkout of pbrl


def suite_files(folder: Path) -> dict[str, Path]:
    """Return the files of the suites in a folder by the names of the suites."""
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def need_checkout(folder: Path) -> str:
    """Return what to do where a folder holds no suite."""
    return (
        f"suites lie in {SUITES.as_posix()} of a checkout of pbrl, and {folder} holds none; run "
        "this there, name the checkout with --root, or give the path of a file of your own"
    )


def find_suite(name: str, folder: Path) -> Path:
    """Return the file of a suite, given its name or its path.

    Raises:
        FileNotFoundError: if there is none, naming those there are.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        known = list(suite_files(folder))
        if not known:
            raise FileNotFoundError(f"there is no suite {name!r}: {need_checkout(folder)}")
        raise FileNotFoundError(
            f"there is no suite {name!r} in {folder}{suggest(name, known)} (known: {known})"
        )
    return path
