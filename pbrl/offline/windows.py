"""Windows of a dataset, gathered when they are drawn."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.offline.steps import DatasetSteps, dataset_steps, discounted_to_go
from pbrl.replay import ReplayBuffer
from pbrl.windows import WindowBatch, WindowSizes


class WindowSampler:
    """Draws windows of one kind from the complete episodes of a dataset.

    Nothing is stored per window. The returns to go, one number per step, are summed up when the
    first batch is drawn, and again after the rewards have been changed.

    Args:
        replay: the dataset.
        sizes: which windows.

    Raises:
        ValueError: if no episode, or no piece, is as long as a window, or one has more steps than
            the learner knows places.
    """

    def __init__(self, replay: ReplayBuffer, sizes: WindowSizes) -> None:
        self.sizes = sizes
        self._steps = dataset_steps(replay)
        self._rewards = replay.all_rewards()
        if sizes.episode_steps is not None:
            self._steps = _cut_anew(self._steps, sizes.episode_steps)
        longest = int(self._steps.lengths.max())
        if sizes.steps > longest:
            raise ValueError(
                f"windows of {sizes.steps} steps are longer than every episode: the longest has "
                f"{longest}; choose a shorter context"
            )
        if sizes.num_timesteps is not None and longest > sizes.num_timesteps:
            raise ValueError(
                f"the dataset has episodes of {longest} steps, and num_timesteps is "
                f"{sizes.num_timesteps}: raise it to {longest}"
            )
        self._to_go: tuple[int, Tensor] | None = None

    @property
    def num_rows(self) -> int:
        """Number of windows, one for each step."""
        return len(self._steps)

    def draw(self, generator: torch.Generator) -> WindowBatch:
        """Return a batch, drawn with replacement."""
        sizes, steps = self.sizes, self._steps
        device = steps.episode.device
        if sizes.draw == "steps":
            shape = (sizes.number,)
            rows = torch.randint(len(steps), shape, generator=generator, device=device)
        else:
            share = torch.rand(2, sizes.number, generator=generator, device=device).double()
            episode = (share[0] * len(steps.lengths)).long()
            rows = steps.first_rows[episode] + (share[1] * steps.lengths[episode]).long()
        return self.read(rows)

    def read(self, rows: Int[Tensor, " window"]) -> WindowBatch:
        """Return the windows that are anchored at these steps of the dataset."""
        sizes, steps = self.sizes, self._steps
        episode = steps.episode[rows]
        first_row = steps.first_rows[episode]
        if sizes.anchor == "first":
            start, length = rows, steps.steps_left[rows].clamp(max=sizes.steps)
        else:
            length = (rows - first_row + 1).clamp(max=sizes.steps)
            start = rows - length + 1
        place = torch.arange(sizes.steps, device=rows.device)
        if sizes.padding == "left":
            place = place - (sizes.steps - length)[:, None]
        mask = (place >= 0) & (place < length[:, None])  # [window, time]
        at = torch.where(mask, start[:, None] + place, start[:, None])

        def gathered(values: Tensor) -> Tensor:
            found: Tensor = values.index_select(0, at.flatten()).unflatten(0, at.shape)
            return found.mul_(mask if found.ndim == 2 else mask[..., None])  # noqa: PLR2004

        last = start + length - 1
        return WindowBatch(
            observations=gathered(steps.observations),
            actions=gathered(steps.actions),
            rewards=gathered(self._rewards),
            returns_to_go=gathered(self.returns_to_go()),
            timesteps=(at - first_row[:, None]) * mask,
            mask=mask,
            terminated=steps.is_last[last] & steps.terminated[episode],
            rows=rows,
        )

    def returns_to_go(self) -> Float[Tensor, " step"]:
        """Return the sum of rewards from each step to the end of its episode."""
        version = self._rewards._version
        if self._to_go is None or self._to_go[0] != version:
            rewards = self._rewards[: len(self._steps)]
            to_go = discounted_to_go(rewards, self._steps.steps_left, 1.0)
            self._to_go = (version, to_go.to(rewards.dtype))
        return self._to_go[1]


def _cut_anew(steps: DatasetSteps, length: int) -> DatasetSteps:
    """Return the steps as if every piece of `length` of them were an episode.

    A piece counts as terminated if its last step ended an episode in a terminal state.

    Raises:
        ValueError: if there is no whole piece.
    """
    number = len(steps) // length
    if number == 0:
        raise ValueError(f"{len(steps)} steps do not make a piece of {length}")
    size = number * length
    rows = torch.arange(size, device=steps.episode.device)
    last = rows[length - 1 :: length]
    return replace(
        steps,
        observations=steps.observations[:size],
        actions=steps.actions[:size],
        true_rewards=steps.true_rewards[:size],
        episode=rows // length,
        steps_left=length - rows % length,
        lengths=torch.full_like(last, length),
        last_observations=steps.next_observations(last),
        terminated=steps.is_last[last] & steps.terminated[steps.episode[last]],
    )
