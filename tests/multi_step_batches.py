"""Random transitions of several actions, for tests of what learns from them."""

import torch

from pbrl.batches import MultiStepBatch


def multi_step_batch(sizes, *, number, steps=3, seed=0, is_whole=None):
    """Return transitions of states and actions of these sizes; by default all windows are whole."""
    observation_dim, action_dim = sizes
    draws = torch.Generator().manual_seed(seed)
    states = torch.randn(3, number, observation_dim, generator=draws)
    actions = 2 * torch.rand(number, steps, action_dim, generator=draws) - 1
    return MultiStepBatch(
        observations=states[0],
        actions=actions[:, 0],
        rewards=torch.rand(number, generator=draws),
        next_observations=states[1],
        terminated=torch.zeros(number),
        action_sequences=actions,
        later_observations=states[2],
        is_whole=torch.ones(number, dtype=torch.bool) if is_whole is None else is_whole,
    )
