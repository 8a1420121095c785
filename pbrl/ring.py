"""The ring behind a replay buffer: step data in rows, of which the newest replaces the oldest."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from pbrl.segments import Segments


def check_field(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse data from outside that does not fit.

    Raises:
        ValueError: if the shape is another one or a value is NaN or infinite.
    """
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
    # The extremes tell it without copies of the whole: NaN goes into both.
    if value.numel() and not all(bool(extreme.isfinite()) for extreme in value.aminmax()):
        raise ValueError(f"{name} must be finite, but hold NaN or infinity")


def check_dtype(name: str, value: Tensor, expected: torch.dtype) -> None:
    """Refuse to mix images of uint8 with other numbers.

    Raises:
        ValueError: if one is uint8 and the other is not.
    """
    if (value.dtype == torch.uint8) != (expected == torch.uint8):
        raise ValueError(f"{name} must be {expected}, as the replay is, got {value.dtype}")


_FIELDS = ("observations", "actions", "rewards", "true_rewards", "episode")
_SIZES = ("num_rows", "num_envs", "num_frames")


def bytes_of_step(frame_dim: int, action_dim: int, observation_dtype: torch.dtype) -> int:
    """Return what a ring keeps of one step."""
    single = torch.float32.itemsize  # of each action, of both rewards and of the episode
    return frame_dim * observation_dtype.itemsize + (action_dim + 3) * single


class StepRing:
    """One step of every environment per row, flat on one device.

    Rows are counted since the beginning, so a row number never names two steps. The step of row
    `r` and environment `e` lies at place `(r % num_rows) * num_envs + e` of every field.

    An observation may be a stack of frames, of which only the newest is stored. The others are read
    from the rows before; at the beginning of an episode they are its first frame.

    Attributes:
        observations: `[place, frame]`, float32, or uint8 for flat images.
        actions: `[place, act]`.
        rewards: reward to learn from, `[place]`.
        true_rewards: reward of the environment, `[place]`.
        episode: identifier of the episode of each step, `[place]`.
        rows_written: rows ever written, those overwritten included.
    """

    def __init__(
        self,
        num_rows: int,
        num_envs: int,
        *,
        observation_dim: int,
        action_dim: int,
        device: torch.device,
        observation_dtype: torch.dtype = torch.float32,
        num_frames: int = 1,
    ) -> None:
        self.num_rows = num_rows
        self.num_envs = num_envs
        self.num_frames = num_frames
        self.frame_dim = observation_dim // num_frames
        size = num_rows * num_envs
        self.observations = torch.zeros(
            size, self.frame_dim, dtype=observation_dtype, device=device
        )
        self.actions = torch.zeros(size, action_dim, device=device)
        self.rewards = torch.zeros(size, device=device)
        self.true_rewards = torch.zeros(size, device=device)
        self.episode = torch.zeros(size, dtype=torch.int32, device=device)
        self.rows_written = 0
        vector = (num_envs,)
        self._row_shapes: dict[str, tuple[int, ...]] = {
            "observations": (num_envs, observation_dim),
            "actions": (num_envs, action_dim),
            "rewards": vector,
            "true_rewards": vector,
            "next_observations": (num_envs, observation_dim),
            "terminated": vector,
            "truncated": vector,
        }

    @property
    def num_steps(self) -> int:
        """Number of steps held; they fill the first places."""
        return min(self.rows_written, self.num_rows) * self.num_envs

    @property
    def leaving_row(self) -> int:
        """The last row that the next one makes unreadable; negative while there is none."""
        beyond = self.rows_written - self.num_rows
        return beyond + self.num_frames - 1 if beyond >= 0 else -1

    @property
    def oldest_row(self) -> int:
        """The first row whose steps can be read: all frames of their observations are there."""
        return self.leaving_row if self.rows_written > self.num_rows else 0

    def check_row(self, row: dict[str, Tensor]) -> None:
        """Refuse tensors of a wrong shape, and numbers that an image cannot hold.

        Raises:
            ValueError: naming the tensor, what came and what was expected.
        """
        for name, value in row.items():
            if value.shape != self._row_shapes[name]:
                expected = self._row_shapes[name]
                raise ValueError(f"{name} must have shape {expected}, got {tuple(value.shape)}")
        for name in ("observations", "next_observations"):
            check_dtype(name, row[name], self.observations.dtype)

    def append(
        self,
        observations: Real[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        rewards: Float[Tensor, " env"],
        true_rewards: Float[Tensor, " env"],
        episode: Int[Tensor, " env"],
    ) -> None:
        """Write one row, over the oldest one when the ring is full."""
        first = self.rows_written % self.num_rows * self.num_envs
        row = slice(first, first + self.num_envs)
        self.observations[row] = self.newest_frames(observations)
        self.actions[row] = actions
        self.rewards[row] = rewards
        self.true_rewards[row] = true_rewards
        self.episode[row] = episode
        self.rows_written += 1

    def fill(self, *, copy: bool, **fields: Tensor) -> None:
        """Take steps of one environment for the whole ring, which has as many rows from then on.

        Args:
            copy: whether to copy tensors that could be kept as they are.
            **fields: the steps.

        Raises:
            ValueError: if a field is of the wrong shape or not finite.
        """
        num_rows = len(fields["observations"])
        for name in _FIELDS:
            check_field(name, fields[name], (num_rows, *getattr(self, name).shape[1:]))
        check_dtype("observations", fields["observations"], self.observations.dtype)
        for name in _FIELDS:
            old = getattr(self, name)
            new = fields[name].to(old.device, old.dtype, copy=copy).contiguous()
            setattr(self, name, new)
        self.num_rows = self.rows_written = num_rows

    def place(
        self, row: Int[Tensor, "*shape"], env: Int[Tensor, "*#shape"]
    ) -> Int[Tensor, "*shape"]:
        """Return where the steps of these rows and environments lie."""
        return row % self.num_rows * self.num_envs + env

    def row(self, place: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Return the row that lies at these places now."""
        newest = self.rows_written - 1
        return newest - (newest - place // self.num_envs) % self.num_rows

    def following(self, place: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Return the places of the next row, same environment."""
        return (place + self.num_envs) % len(self.rewards)

    def newest_frames(
        self, observations: Real[Tensor, "*batch obs"]
    ) -> Real[Tensor, "*batch frame"]:
        """Return the part of each observation that is stored."""
        return observations[..., -self.frame_dim :]

    def draw(self, number: int, generator: torch.Generator) -> Int[Tensor, " number"]:
        """Draw places of readable steps, uniformly with replacement."""
        num_readable = (self.rows_written - self.oldest_row) * self.num_envs
        size, device = (number,), self.rewards.device
        place = torch.randint(num_readable, size, generator=generator, device=device)
        if num_readable == self.num_steps:
            return place
        return (place + self.oldest_row * self.num_envs) % len(self.rewards)

    def stacks(self, place: Int[Tensor, " step"]) -> Real[Tensor, "step obs"]:
        """Return the observations of these steps."""
        if self.num_frames == 1:
            return self.observations.index_select(0, place)
        return self._read(self._frame_places(place))

    def following_stacks(
        self,
        place: Int[Tensor, " step"],
        is_last: Bool[Tensor, " step"],
        last_frames: Real[Tensor, "step frame"],
    ) -> Real[Tensor, "step obs"]:
        """Return what came of these steps: in the next row, or what their episode ended with."""
        newest = self.following(place)
        if self.num_frames == 1:
            following = self.observations.index_select(0, newest)
            return torch.where(is_last[:, None], last_frames, following)
        earlier = self._frame_places(place)[:, 1:]
        stacks = self._read(torch.cat([earlier, newest[:, None]], 1))
        own = self.newest_frames(stacks)
        own.copy_(torch.where(is_last[:, None], last_frames, own))
        return stacks

    def _frame_places(self, place: Tensor) -> Int[Tensor, "step frame"]:
        """Return where the frames of each observation lie, the oldest first."""
        back = torch.arange(self.num_frames - 1, -1, -1, device=place.device)
        earlier = self._earlier(place, back.expand(len(place), -1))
        is_own = self.episode[earlier] == self.episode[place][:, None]
        first_row = max(0, self.rows_written - self.num_rows)
        is_own &= self.row(place)[:, None] - back >= first_row
        return self._earlier(place, torch.minimum(back, is_own.sum(1, keepdim=True) - 1))

    def _earlier(self, place: Tensor, back: Tensor) -> Tensor:
        return (place[:, None] - back * self.num_envs) % len(self.rewards)

    def _read(self, places: Tensor) -> Real[Tensor, "step obs"]:
        return self.observations.index_select(0, places.flatten()).view(len(places), -1)

    def read_windows(
        self,
        row: Int[Tensor, " segment"],
        env: Int[Tensor, " segment"],
        mask: Bool[Tensor, "segment time"],
        *,
        is_whole: bool = False,
    ) -> Segments:
        """Read the steps from `row` on; steps outside the mask are zero.

        Whether there are such steps is waited for, unless it is known that there are none.
        """
        time = torch.where(mask, torch.arange(mask.shape[1], device=mask.device), 0)
        place = self.place(row[:, None] + time, env[:, None])  # [segment, time]
        flat = place.reshape(-1)
        observations = self.stacks(flat).unflatten(0, place.shape)
        actions = self.actions.index_select(0, flat).unflatten(0, place.shape)
        true_rewards = self.true_rewards.index_select(0, flat).unflatten(0, place.shape)
        if not is_whole and not bool(mask.all()):
            observations.mul_(mask[..., None])
            actions.mul_(mask[..., None])
            true_rewards.mul_(mask)
        return Segments(observations, actions, mask, true_rewards)

    def state_dict(self) -> dict[str, Any]:
        """Return the sizes and views of the filled part of every field."""
        state: dict[str, Any] = {name: getattr(self, name)[: self.num_steps] for name in _FIELDS}
        return state | {name: getattr(self, name) for name in (*_SIZES, "rows_written")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if the state belongs to a ring of another shape; nothing is restored then.
        """
        for name in _SIZES:
            stored = state.get(name, 1)  # checkpoints of version 0.1 may lack num_frames
            if stored != getattr(self, name):
                raise ValueError(
                    f"the stored replay has {name} {stored}, this one {getattr(self, name)}"
                )
        num_steps = min(int(state["rows_written"]), self.num_rows) * self.num_envs
        for name in _FIELDS:
            expected = (num_steps, *getattr(self, name).shape[1:])
            if state[name].shape != expected:
                raise ValueError(
                    f"the stored replay has {name} of shape {tuple(state[name].shape)}, "
                    f"this one {expected}"
                )
        check_dtype("observations", state["observations"], self.observations.dtype)
        self.rows_written = int(state["rows_written"])
        for name in _FIELDS:
            getattr(self, name)[:num_steps] = state[name]
