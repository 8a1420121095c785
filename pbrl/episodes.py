"""The table of episodes behind a replay buffer."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.segments import SegmentIndex

_FIELDS = ("_env", "_start", "_length", "_terminated", "_complete", "_last_observation")


class EpisodeTable:
    """Where each episode lies in the ring, how long it is and how it ended.

    Episodes carry identifiers that count up for ever; entry `id - first_id` of the columns
    belongs to episode `id`. Every environment always has one open episode, perhaps empty.
    Ring rows are counted since the beginning of the buffer, so they never repeat.
    """

    def __init__(self, num_envs: int, observation_dim: int, *, device: torch.device) -> None:
        size = max(64, 2 * num_envs)
        self._env = torch.zeros(size, dtype=torch.int64, device=device)
        self._start = torch.zeros_like(self._env)
        self._length = torch.zeros_like(self._env)
        self._terminated = torch.zeros(size, dtype=torch.bool, device=device)
        self._complete = torch.zeros_like(self._terminated)
        self._last_observation = torch.zeros(size, observation_dim, device=device)
        self._first_id = 0
        self._num_entries = 0
        self._completed = torch.zeros(0, dtype=torch.int64, device=device)
        self.open_ids = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._open(torch.arange(num_envs, device=device), 0)

    @property
    def is_full(self) -> bool:
        """Whether the next step might need more entries than are left."""
        return len(self._env) - self._num_entries < len(self.open_ids)

    def _open(self, envs: Tensor, row: int) -> None:
        new = slice(self._num_entries, self._num_entries + len(envs))
        self._env[new] = envs
        self._start[new] = row
        self._length[new] = 0
        self._terminated[new] = False
        self._complete[new] = False
        self.open_ids[envs] = torch.arange(
            new.start + self._first_id, new.stop + self._first_id, device=envs.device
        )
        self._num_entries = new.stop

    def extend(
        self,
        next_observations: Float[Tensor, "env obs"],
        terminated: Bool[Tensor, " env"],
        truncated: Bool[Tensor, " env"],
        next_row: int,
    ) -> None:
        """Add one step to every open episode; those that ended are completed and followed."""
        entry = self.open_ids - self._first_id
        self._length[entry] += 1
        self._last_observation[entry] = next_observations
        self._terminated[entry] = terminated
        ended = terminated | truncated
        if bool(ended.any()):
            self._finish(ended.nonzero()[:, 0], next_row)

    def close_open(self, next_row: int) -> None:
        """Truncate every open episode that has a step."""
        self._finish((self._length[self.open_ids - self._first_id] > 0).nonzero()[:, 0], next_row)

    def _finish(self, envs: Tensor, next_row: int) -> None:
        ids = self.open_ids[envs]
        self._complete[ids - self._first_id] = True
        self._completed = torch.cat([self._completed, ids])
        if len(self._env) - self._num_entries < len(envs):
            self._grow()
        self._open(envs, next_row)

    def make_room(self, oldest_row: int) -> None:
        """Forget leading episodes that the ring has overwritten, or grow if there are few."""
        used = slice(0, self._num_entries)
        alive = ~self._complete[used] | (self._start[used] + self._length[used] > oldest_row)
        num_dead = int(alive.to(torch.int8).argmax())
        if num_dead < self._num_entries // 2:
            self._grow()
            return
        for name in _FIELDS:
            column = getattr(self, name)
            kept = column[num_dead : self._num_entries].clone()
            column[: len(kept)] = kept
        self._first_id += num_dead
        self._num_entries -= num_dead
        self._completed = self._completed[self._completed >= self._first_id]

    def _grow(self) -> None:
        for name in _FIELDS:
            column = getattr(self, name)
            setattr(self, name, torch.cat([column, torch.zeros_like(column)]))

    def _entry(self, ids: Tensor) -> Tensor:
        return (ids - self._first_id).clamp(0, self._num_entries - 1)

    def completed_ids(self, oldest_row: int) -> Int[Tensor, " episode"]:
        """Return complete episodes that still have steps, in the order of their completion."""
        if oldest_row == 0:
            return self._completed
        entry = self._completed - self._first_id
        alive = self._start[entry] + self._length[entry] > oldest_row
        return self._completed[alive]

    def lengths(self, ids: Int[Tensor, " episode"]) -> Int[Tensor, " episode"]:
        """Return the number of steps of each episode."""
        return self._length[self._entry(ids)]

    def locate(
        self, index: SegmentIndex
    ) -> tuple[Int[Tensor, " segment"], Int[Tensor, " segment"]]:
        """Return the first ring row and the environment of each segment."""
        entry = self._entry(index.episode)
        return self._start[entry] + index.start, self._env[entry]

    def is_gone(self, index: SegmentIndex, oldest_row: int) -> Bool[Tensor, " segment"]:
        """Return which segments are not wholly in the ring."""
        entry = index.episode - self._first_id
        known = (entry >= 0) & (entry < self._num_entries) & (index.start >= 0)
        entry = self._entry(index.episode)
        inside = index.start + index.length <= self._length[entry]
        return ~(known & inside & (self._start[entry] + index.start >= oldest_row))

    def window_starts(
        self, ids: Int[Tensor, " episode"], length: int, oldest_row: int
    ) -> tuple[Int[Tensor, " episode"], Int[Tensor, " episode"]]:
        """Return, per episode, the first legal start of a window and how many starts are legal."""
        entry = self._entry(ids)
        first = (oldest_row - self._start[entry]).clamp(min=0)
        return first, (self._length[entry] - first - length + 1).clamp(min=0)

    def at_end(
        self, ids: Int[Tensor, " batch"], row: Int[Tensor, " batch"]
    ) -> tuple[Bool[Tensor, " batch"], Float[Tensor, "batch obs"], Bool[Tensor, " batch"]]:
        """Return, per step, whether it is the last one, the last observation, and termination."""
        entry = ids - self._first_id
        is_last = row == self._start[entry] + self._length[entry] - 1
        return is_last, self._last_observation[entry], is_last & self._terminated[entry]

    def state_dict(self) -> dict[str, Any]:
        """Return the used part of every column."""
        columns = {name: getattr(self, name)[: self._num_entries] for name in _FIELDS}
        return {
            "columns": columns,
            "first_id": self._first_id,
            "completed": self._completed,
            "open_ids": self.open_ids,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._first_id = int(state["first_id"])
        self._num_entries = len(state["columns"]["_env"])
        while len(self._env) < self._num_entries + len(self.open_ids):
            self._grow()
        for name in _FIELDS:
            getattr(self, name)[: self._num_entries] = state["columns"][name]
        device = self.open_ids.device
        self._completed = state["completed"].to(device)
        self.open_ids.copy_(state["open_ids"])
