"""Reading transitions of one step, or of several, from the ring and the episodes of a replay."""

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from pbrl.batches import Batch, BatchSteps, MultiStepBatch, Rollout
from pbrl.episodes import EpisodeTable
from pbrl.ring import StepRing
from pbrl.segments import SegmentIndex


def transitions(ring: StepRing, episodes: EpisodeTable, place: Int[Tensor, " batch"]) -> Batch:
    """Return the steps at these places of the ring, and what came of them."""
    next_observations, terminated = outcome(ring, episodes, place)
    return Batch(
        observations=ring.stacks(place),
        actions=ring.actions.index_select(0, place),
        rewards=ring.rewards.index_select(0, place),
        next_observations=next_observations,
        terminated=terminated,
    )


def multistep_transitions(
    ring: StepRing,
    episodes: EpisodeTable,
    index: SegmentIndex,
    steps: BatchSteps,
    *,
    last_steps: bool,
) -> MultiStepBatch:
    """Return transitions that begin where the segments do.

    Args:
        ring: the steps.
        episodes: where they begin and end.
        index: segments that hold the steps of the rewards; the other actions may lie beyond the end
            of the episode.
        steps: how far the transitions reach.
        last_steps: whether what came after the last step of an episode is known.
    """
    rows, envs = episodes.locate(index)
    num_left = episodes.known_lengths(index.episode) - index.start
    time = torch.arange(steps.length, device=rows.device)
    place = ring.place(rows[:, None] + time.minimum(num_left[:, None] - 1), envs[:, None])
    is_in = time[: steps.num_actions] < num_left[:, None]
    sequences = ring.actions[place[:, : steps.num_actions]] * is_in[..., None]
    discounts = steps.discount ** torch.arange(steps.num_rewards, device=rows.device)
    following, terminated = outcome(ring, episodes, place[:, steps.num_rewards - 1])
    later = following
    if steps.num_actions != steps.num_rewards:
        later, _ = outcome(ring, episodes, place[:, steps.num_actions - 1])
    return MultiStepBatch(
        observations=ring.stacks(place[:, 0]),
        actions=sequences[:, 0],
        rewards=ring.rewards[place[:, : steps.num_rewards]] @ discounts,
        next_observations=following,
        terminated=terminated,
        action_sequences=sequences,
        later_observations=later,
        is_whole=num_left >= steps.num_actions + (not last_steps),
    )


def newest_steps(ring: StepRing, episodes: EpisodeTable, num_steps: int) -> Rollout:
    """Return the newest steps of every environment, which the ring holds, in their order."""
    device = ring.rewards.device
    rows = torch.arange(ring.rows_written - num_steps, ring.rows_written, device=device)
    envs = torch.arange(ring.num_envs, device=device)
    place = ring.place(rows[:, None].expand(-1, ring.num_envs), envs[None])  # [time, env]
    steps = transitions(ring, episodes, place.flatten())
    episode = ring.episode[place]
    is_last = torch.ones_like(place, dtype=torch.bool)
    is_last[:-1] = episode[1:] != episode[:-1]
    shaped = {name: part.unflatten(0, place.shape) for name, part in vars(steps).items()}
    return Rollout(**shaped, is_last=is_last)


def outcome(
    ring: StepRing, episodes: EpisodeTable, place: Int[Tensor, " batch"]
) -> tuple[Real[Tensor, "batch obs"], Float[Tensor, " batch"]]:
    """Return what came after the steps at these places, and 1.0 where that was a terminal state."""
    is_last, last_frames, terminated = episodes.at_end(ring.episode[place], ring.row(place))
    return ring.following_stacks(place, is_last, last_frames), terminated.to(torch.float32)
