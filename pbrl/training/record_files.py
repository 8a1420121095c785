"""Small files in one folder: on this machine, on a shared one, or in an object store."""

import os
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pbrl.training.files import write_text

_SEPARATOR = "://"


@runtime_checkable
class RecordFiles(Protocol):
    """Reads and writes whole files of a folder, by name."""

    def path(self, name: str) -> str:
        """Return where a file lies, for people."""
        ...

    def names(self) -> set[str]:
        """Return the names of the files."""
        ...

    def read(self, names: Collection[str]) -> dict[str, str]:
        """Return the text of files that are there, by name."""
        ...

    def write(self, name: str, text: str) -> None:
        """Write a file so that a reader sees all of it or nothing, also if this is cut short."""
        ...


def open_files(place: Path | str) -> RecordFiles:
    """Return the files at a path, or at a URL that fsspec knows, such as `s3://bucket/folder`.

    Raises:
        ValueError: if no such kind of URL is known.
        ImportError: naming the package that a kind of URL needs.
    """
    if isinstance(place, str) and _SEPARATOR in place:
        scheme, _, rest = place.partition(_SEPARATOR)
        return LocalFiles(Path(rest)) if scheme in ("file", "local") else RemoteFiles(place)
    return LocalFiles(Path(place))


class LocalFiles:
    """Files in a folder that this machine mounts.

    Args:
        folder: created with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self.folder / name)

    def names(self) -> set[str]:
        """Return the names of the files."""
        return set(os.listdir(self.folder)) if self.folder.is_dir() else set()

    def read(self, names: Collection[str]) -> dict[str, str]:
        """Return the text of files, by name."""
        return {name: (self.folder / name).read_text(encoding="utf-8") for name in names}

    def write(self, name: str, text: str) -> None:
        """Write a file under another name, then rename it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / name, text)


class RemoteFiles:
    """Files in an object store or wherever else fsspec leads.

    Args:
        url: of the folder.

    Raises:
        ValueError: if no such kind of URL is known.
        ImportError: naming the package that a kind of URL needs.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ModuleNotFoundError as error:
            if error.name != "fsspec":
                raise
            raise ImportError("the package fsspec is not installed: pip install 'pbrl[ray]'") \
                from None  # fmt: skip
        self.url = url.rstrip("/")
        self._files: Any
        self._files, self._folder = fsspec.core.url_to_fs(self.url)

    def path(self, name: str) -> str:
        """Return the URL of a file."""
        return f"{self.url}/{name}"

    def names(self) -> set[str]:
        """Return the names of the files."""
        try:
            found = self._files.ls(self._folder, detail=False, refresh=True)
        except FileNotFoundError:
            return set()
        return {str(path).rstrip("/").rpartition("/")[2] for path in found}

    def read(self, names: Collection[str]) -> dict[str, str]:
        """Return the text of files, by name; at once where the store can."""
        if not names:
            return {}
        paths = {f"{self._folder}/{name}": name for name in names}
        content: dict[str, bytes] = self._files.cat(list(paths))
        texts = {path.rpartition("/")[2]: data.decode() for path, data in content.items()}
        return {name: texts[name] for name in names}

    def write(self, name: str, text: str) -> None:
        """Write a file under another name, then rename it: not every store writes atomically."""
        self._files.makedirs(self._folder, exist_ok=True)
        temporary = f"{self._folder}/.{name}.{uuid.uuid4().hex}.tmp"
        self._files.pipe_file(temporary, text.encode())
        self._files.mv(temporary, f"{self._folder}/{name}")
