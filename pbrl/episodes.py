"""The table of episodes behind a replay buffer."""

from typing import Any

import torch
from jaxtyping import Bool, Int, Real
from torch import Tensor

from pbrl.ring import check_dtype, check_field
from pbrl.segments import SegmentIndex
from pbrl.window_starts import WindowStarts

_COLUMNS = ("_id", "_env", "_start", "_length", "_terminated", "_complete", "_last_observation")
_MIN_ENTRIES = 64


class EpisodeTable:
    """Where each episode lies in the ring, how long it is and how it ended.

    Episodes carry identifiers that count up for ever. The entries stand in the order of their
    identifiers, so one is found by binary search, and entries of overwritten episodes are dropped
    wherever they stand: the table stays within a small multiple of the episodes in the ring, even
    when one environment never ends an episode. Every environment always has one open episode,
    perhaps empty. Ring rows are counted since the beginning of the buffer, so they never repeat.

    Attributes:
        open_ids: identifier of the episode in progress, `[env]`.
    """

    def __init__(
        self,
        num_envs: int,
        observation_dim: int,
        *,
        device: torch.device,
        observation_dtype: torch.dtype = torch.float32,
    ) -> None:
        size = max(_MIN_ENTRIES, 2 * num_envs)
        self._id = torch.zeros(size, dtype=torch.int64, device=device)
        self._env = torch.zeros_like(self._id)
        self._start = torch.zeros_like(self._id)
        self._length = torch.zeros_like(self._id)
        self._terminated = torch.zeros(size, dtype=torch.bool, device=device)
        self._complete = torch.zeros_like(self._terminated)
        self._last_observation = torch.zeros(
            size, observation_dim, dtype=observation_dtype, device=device
        )
        self._num_entries = 0
        self._completed = torch.zeros_like(self._id)  # identifiers in the order of completion
        self._num_completed = 0
        self._next_id = 0
        self.open_ids = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._open_entries = torch.zeros_like(self.open_ids)
        self._open(torch.arange(num_envs, device=device), 0)

    @property
    def is_full(self) -> bool:
        """Whether the next step might need more entries than are left."""
        return len(self._id) - self._num_entries < len(self.open_ids)

    def _open(self, envs: Tensor, row: int) -> None:
        first, count = self._num_entries, len(envs)
        new = slice(first, first + count)
        ids = torch.arange(self._next_id, self._next_id + count, device=envs.device)
        self._id[new] = ids
        self._env[new] = envs
        self._start[new] = row
        self._length[new] = 0
        self._terminated[new] = False
        self._complete[new] = False
        self.open_ids[envs] = ids
        self._open_entries[envs] = torch.arange(first, new.stop, device=envs.device)
        self._next_id += count
        self._num_entries += count

    def extend(
        self,
        next_observations: Real[Tensor, "env obs"],
        terminated: Bool[Tensor, " env"],
        truncated: Bool[Tensor, " env"],
        next_row: int,
        *,
        may_end: bool = True,
    ) -> None:
        """Add one step to every open episode; those that ended are completed and followed.

        Whether any has ended is waited for, unless none may have.
        """
        self._length[self._open_entries] += 1
        self._last_observation[self._open_entries] = next_observations
        ended = terminated | truncated
        if may_end and bool(ended.any()):
            self._terminated[self._open_entries] = terminated
            self._finish(ended.nonzero()[:, 0], next_row)

    def fill(
        self,
        lengths: Int[Tensor, " episode"],
        terminated: Bool[Tensor, " episode"],
        last_observations: Real[Tensor, "episode obs"],
    ) -> None:
        """Fill the empty table of one environment with complete episodes, one after the other.

        Raises:
            ValueError: if an episode is empty or the fields do not fit together.
        """
        count = len(lengths)
        if not bool((lengths > 0).all()):
            raise ValueError(f"lengths must be at least 1, got {int(lengths.min())}")
        check_field("terminated", terminated, (count,))
        check_field(
            "last_observations", last_observations, (count, *self._last_observation.shape[1:])
        )
        check_dtype("last_observations", last_observations, self._last_observation.dtype)
        while len(self._id) <= count:
            self._grow()
        self._num_entries = 0
        self._next_id = 0
        self._open(torch.zeros_like(lengths), 0)
        self._start[:count] = lengths.cumsum(0) - lengths
        self._length[:count] = lengths
        self._terminated[:count] = terminated
        self._complete[:count] = True
        self._last_observation[:count] = last_observations
        self._completed[:count] = self._id[:count]
        self._num_completed = count
        self._open(torch.zeros_like(self.open_ids), int(lengths.sum()))

    def close_open(self, next_row: int) -> None:
        """Truncate every open episode that has a step."""
        self._finish((self._length[self._open_entries] > 0).nonzero()[:, 0], next_row)

    def _finish(self, envs: Tensor, next_row: int) -> None:
        self._complete[self._open_entries[envs]] = True
        first, count = self._num_completed, len(envs)
        self._completed[first : first + count] = self.open_ids[envs]
        self._num_completed += count
        if len(self._id) - self._num_entries < count:
            self._grow()
        self._open(envs, next_row)

    def make_room(self, oldest_row: int) -> None:
        """Forget episodes that the ring has overwritten; grow if more than half remain."""
        used = slice(0, self._num_entries)
        alive = ~self._complete[used] | (self._start[used] + self._length[used] > oldest_row)
        entries = alive.nonzero()[:, 0]
        completed = self.completed_ids(oldest_row)
        for name in _COLUMNS:
            column = getattr(self, name)
            column[: len(entries)] = column[entries]
        self._num_entries = len(entries)
        self._completed[: len(completed)] = completed
        self._num_completed = len(completed)
        self._open_entries, _ = self._find(self.open_ids)
        if 2 * self._num_entries > len(self._id):
            self._grow()

    def _grow(self) -> None:
        for name in (*_COLUMNS, "_completed"):
            column = getattr(self, name)
            setattr(self, name, torch.cat([column, torch.zeros_like(column)]))

    def _find(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entry of each identifier and whether the table knows the identifier."""
        known_ids = self._id[: self._num_entries]
        ids = ids.to(torch.int64).contiguous()
        entry = torch.searchsorted(known_ids, ids).clamp(max=self._num_entries - 1)
        return entry, known_ids[entry] == ids

    def ids(self) -> Int[Tensor, " episode"]:
        """Return all episodes that the table knows, complete or not; some may be overwritten."""
        return self._id[: self._num_entries]

    def completed_ids(self, oldest_row: int) -> Int[Tensor, " episode"]:
        """Return complete episodes that still have steps, in the order of their completion."""
        completed = self._completed[: self._num_completed].clone()
        if oldest_row == 0:
            return completed
        entry, _ = self._find(completed)
        return completed[self._start[entry] + self._length[entry] > oldest_row]

    def lengths(self, ids: Int[Tensor, " episode"]) -> Int[Tensor, " episode"]:
        """Return the number of steps of each episode, those overwritten included.

        Raises:
            ValueError: if an episode never existed or was wholly overwritten and forgotten.
        """
        entry, known = self._find(ids)
        if not bool(known.all()):
            raise ValueError(f"episode {int(ids[~known][0])} is not in the replay buffer")
        return self._length[entry]

    def known_lengths(self, ids: Int[Tensor, " episode"]) -> Int[Tensor, " episode"]:
        """Return the number of steps of episodes that are all known, which is not looked at."""
        entry, _ = self._find(ids)
        return self._length[entry]

    def terminated(self, ids: Int[Tensor, " episode"]) -> Bool[Tensor, " episode"]:
        """Return which episodes, all known, ended in a terminal state."""
        entry, _ = self._find(ids)
        return self._terminated[entry]

    def locate(
        self, index: SegmentIndex
    ) -> tuple[Int[Tensor, " segment"], Int[Tensor, " segment"]]:
        """Return the first ring row and the environment of each segment."""
        entry, _ = self._find(index.episode)
        return self._start[entry] + index.start, self._env[entry]

    def is_gone(self, index: SegmentIndex, oldest_row: int) -> Bool[Tensor, " segment"]:
        """Return which segments are not wholly in the ring."""
        entry, known = self._find(index.episode)
        inside = (index.start >= 0) & (index.length >= 1)
        inside &= index.start <= self._length[entry] - index.length
        return ~(known & inside & (self._start[entry] + index.start >= oldest_row))

    def _legal_starts(self, ids: Tensor, length: int, oldest_row: int) -> tuple[Tensor, Tensor]:
        """Return, per episode, the first legal start of a window and how many starts are legal.

        An episode that the table does not know, or no more, has none.
        """
        entry, known = self._find(ids)
        first = (oldest_row - self._start[entry]).clamp(min=0)
        return first, (self._length[entry] - first - length + 1).clamp(min=0) * known

    def window_starts(
        self, ids: Int[Tensor, " episode"], length: int, oldest_row: int
    ) -> WindowStarts:
        """Return where windows of `length` steps begin that lie inside one of the episodes.

        Raises:
            ValueError: if there is none, naming the longest episode.
        """
        first, num_starts = self._legal_starts(ids, length, oldest_row)
        bounds = num_starts.cumsum(0)  # [episode]
        total = int(bounds[-1]) if len(bounds) else 0
        if total == 0:
            longest = self.longest_window(ids, oldest_row)
            raise ValueError(
                f"no episode holds a segment of {length} steps: there are {len(ids)} episodes to "
                f"draw from and the longest has {longest} steps in the buffer; choose shorter "
                "segments or collect longer episodes first"
            )
        return WindowStarts(length, ids, first, bounds - num_starts, bounds, total)

    def longest_window(self, ids: Int[Tensor, " episode"], oldest_row: int) -> int:
        """Return how many steps of one of the episodes are left at most; 0 without episodes."""
        _, num_steps = self._legal_starts(ids, 1, oldest_row)
        return int(num_steps.max()) if len(ids) else 0

    def at_end(
        self, ids: Int[Tensor, " batch"], row: Int[Tensor, " batch"]
    ) -> tuple[Bool[Tensor, " batch"], Real[Tensor, "batch obs"], Bool[Tensor, " batch"]]:
        """Return, per step, whether it is the last one, the last observation, and termination."""
        entry, _ = self._find(ids)
        is_last = row == self._start[entry] + self._length[entry] - 1
        last_observations = self._last_observation.index_select(0, entry)
        return is_last, last_observations, is_last & self._terminated[entry]

    def state_dict(self) -> dict[str, Any]:
        """Return views of the used part of every column."""
        return {
            "columns": {name: getattr(self, name)[: self._num_entries] for name in _COLUMNS},
            "completed": self._completed[: self._num_completed],
            "next_id": self._next_id,
            "open_ids": self.open_ids,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._num_entries = len(state["columns"]["_id"])
        while len(self._id) < self._num_entries + len(self.open_ids):
            self._grow()
        for name in _COLUMNS:
            getattr(self, name)[: self._num_entries] = state["columns"][name]
        self._num_completed = len(state["completed"])
        self._completed[: self._num_completed] = state["completed"]
        self._next_id = int(state["next_id"])
        self.open_ids.copy_(state["open_ids"])
        self._open_entries, _ = self._find(self.open_ids)
