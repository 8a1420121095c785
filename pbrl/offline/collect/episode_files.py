"""One file per collected episode: what an interrupted collection goes on from."""

import re
from pathlib import Path

import numpy as np

from pbrl.offline.collect.episodes import Episode
from pbrl.offline.npz import npz_names, read_npz

_NAME = re.compile(r"episode-(\d+)-(\d{6,})\.npz")
_PARTIAL = ".partial"
_STATE = "state."
_FIELDS = ("observations", "actions", "rewards", "terminated")


class EpisodeFiles:
    """The finished episodes of a collection in a folder, each in a file that is whole or not there.

    Args:
        folder: where they lie; created if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, source: int, number: int, episode: Episode | None) -> None:
        """Write an episode; None stands for one that holds no step."""
        arrays: dict[str, np.ndarray] = {}
        if episode is not None:
            arrays = {name: np.asarray(getattr(episode, name)) for name in _FIELDS}
            arrays |= {_STATE + name: value for name, value in episode.states.items()}
            if episode.successes is not None:
                arrays["successes"] = episode.successes
        path = self._path(source, number)
        partial = path.with_suffix(_PARTIAL)
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        partial.replace(path)

    def load(self, source: int, number: int) -> Episode | None:
        """Return an episode that `save` wrote.

        Raises:
            ValueError: if the file is damaged.
        """
        path = self._path(source, number)
        names = npz_names(path)
        if not names:
            return None
        arrays = read_npz(path, names | set(_FIELDS))
        return Episode(
            observations=arrays["observations"],
            actions=arrays["actions"],
            rewards=arrays["rewards"],
            terminated=bool(arrays["terminated"]),
            successes=arrays.get("successes"),
            states={
                name.removeprefix(_STATE): value
                for name, value in arrays.items()
                if name.startswith(_STATE)
            },
        )

    def lengths(self, source: int) -> dict[int, int]:
        """Return the number of steps of each episode there is; damaged files are removed."""
        found = {}
        for path in self.folder.glob(f"*{_PARTIAL}"):
            path.unlink()  # what an interrupted process was writing
        for path in sorted(self.folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is not None and int(match[1]) == source:
                try:
                    arrays = read_npz(path, npz_names(path) & {"rewards"})
                except ValueError:
                    path.unlink()  # lost with the power: it is collected again
                else:
                    found[int(match[2])] = len(arrays.get("rewards", ()))
        return found

    def _path(self, source: int, number: int) -> Path:
        return self.folder / f"episode-{source}-{number:06d}.npz"
