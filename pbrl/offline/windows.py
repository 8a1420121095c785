"""Windows of a dataset, gathered when they are drawn."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.offline.steps import DatasetSteps, dataset_steps, discounted_to_go
from pbrl.replay import ReplayBuffer
from pbrl.windows import WindowBatch, WindowSizes, piece_rows


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
        self._steps = steps = dataset_steps(replay)
        self._rewards = replay.all_rewards()
        self._is_terminal = steps.is_last & steps.terminated[steps.episode]
        self._rows: Tensor | None = None  # of the dataset, where that is cut anew
        if sizes.episode_steps is not None:
            pieces = piece_rows(steps.lengths, steps.terminated, sizes.episode_steps)
            self._rows = pieces.flatten()
            self._is_terminal = self._is_terminal[self._rows]
            self._steps = _cut_anew(steps, pieces)
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
        """Return the windows that are anchored at these steps: numbers below `num_rows`."""
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
        at_rewards = at if self._rows is None else self._rows[at]
        return WindowBatch(
            observations=gathered(steps.observations),
            actions=gathered(steps.actions),
            rewards=self._rewards[at_rewards] * mask,
            returns_to_go=gathered(self.returns_to_go()),
            timesteps=(at - first_row[:, None]) * mask,
            mask=mask,
            terminated=self._is_terminal[last],
            rows=rows if self._rows is None else self._rows[rows],
        )

    def returns_to_go(self) -> Float[Tensor, " step"]:
        """Return the sum of rewards from each step to the end of its episode."""
        version = self._rewards._version
        if self._to_go is None or self._to_go[0] != version:
            rewards = self._rewards if self._rows is None else self._rewards[self._rows]
            to_go = discounted_to_go(rewards, self._steps.steps_left, 1.0)
            self._to_go = (version, to_go.to(rewards.dtype))
        return self._to_go[1]


def _cut_anew(steps: DatasetSteps, pieces: Int[Tensor, "piece step"]) -> DatasetSteps:
    """Return copies of the steps as if every piece were an episode."""
    length = pieces.shape[1]
    rows, last = pieces.flatten(), pieces[:, -1]
    place = torch.arange(len(rows), device=rows.device)
    return DatasetSteps(
        observations=steps.observations[rows],
        actions=steps.actions[rows],
        true_rewards=steps.true_rewards[rows],
        episode=place // length,
        steps_left=length - place % length,
        lengths=torch.full_like(last, length),
        last_observations=steps.next_observations(last),
        terminated=steps.is_last[last] & steps.terminated[steps.episode[last]],
    )
