"""Intrinsic reward of the exploration before the first labels: distance to the nearest states."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.running_moments import RunningMoments

BLOCK = 16  # states of the pool that compete as one until the last step
QUERIES_AT_ONCE = 256  # bounds the memory of the last step
STATES_AT_ONCE = {"cpu": 512}  # so that a slab of products stays in the cache
STATES_AT_ONCE_ELSEWHERE = 65_536


@dataclass(frozen=True, kw_only=True)
class IntrinsicConfig:
    """Reward for being far from the states seen so far (Lee et al. 2021, PEBBLE).

    Attributes:
        neighbour: k, which nearest state the distance is measured to; 5 in PEBBLE's code.
        normalize: divide by the running standard deviation of the distances, without subtracting a
            mean, as PEBBLE's code does. The paper takes a logarithm instead.
    """

    neighbour: int = 5
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.neighbour < 1:
            raise ValueError(f"neighbour must be at least 1, got {self.neighbour}")


class IntrinsicReward(nn.Module):
    """Distance of a state to its k-th nearest neighbour in the replay buffer, scaled.

    Each call updates the scale first and then divides by it.
    """

    def __init__(self, config: IntrinsicConfig) -> None:
        super().__init__()
        self.config = config
        self.moments = RunningMoments()

    @torch.no_grad()
    def forward(
        self, states: Float[Tensor, "batch obs"], pool: Float[Tensor, "step obs"]
    ) -> Float[Tensor, " batch"]:
        """Return the reward of states drawn from `pool`, which holds every state seen."""
        distances = knn_distances(states, pool, self.config.neighbour)
        if not self.config.normalize:
            return distances
        self.moments.update(distances)
        return distances / self.moments.std.to(distances.dtype)


def knn_distances(
    states: Float[Tensor, "batch obs"], pool: Float[Tensor, "step obs"], neighbour: int
) -> Float[Tensor, " batch"]:
    """Return the Euclidean distance of each state to its k-th nearest one in the pool.

    The states themselves are in the pool and are not counted: this is the (k + 1)-th smallest
    distance. Memory does not grow with the pool but by one number per `BLOCK` states and query.

    Squared distances expanded into products rank blocks of states fast but lose digits where states
    are close and far from their mean; the best blocks are therefore measured again by differences.

    Raises:
        ValueError: if the pool has no k other states.
    """
    if len(pool) <= neighbour:
        raise ValueError(
            f"the {neighbour}-th nearest neighbour needs a pool of at least {neighbour + 1} "
            f"states, got {len(pool)}"
        )
    centre = pool.mean(0)
    return torch.cat(
        [_knn_distances(part, pool, centre, neighbour) for part in states.split(QUERIES_AT_ONCE)]
    )


def _knn_distances(states: Tensor, pool: Tensor, centre: Tensor, neighbour: int) -> Tensor:
    centred = states - centre
    size = STATES_AT_ONCE.get(pool.device.type, STATES_AT_ONCE_ELSEWHERE)
    minima = torch.cat([_block_minima(centred, part - centre) for part in pool.split(size)])
    # The k + 1 nearest lie in at most k + 1 blocks; one more allows for rounding.
    num_blocks = min(neighbour + 2, len(minima))
    block = minima.T.contiguous().topk(num_blocks, largest=False, sorted=False).indices
    index = (block[..., None] * BLOCK + torch.arange(BLOCK, device=pool.device)).flatten(1)
    candidates = pool[index.clamp(max=len(pool) - 1)].sub_(states[:, None])  # [batch, near, obs]
    squared = candidates.square_().sum(-1).masked_fill_(index >= len(pool), torch.inf)
    return squared.topk(neighbour + 1, largest=False).values[:, -1].sqrt()


def _block_minima(states: Tensor, pool: Tensor) -> Tensor:
    """Return the least |p|^2 - 2 p.s over each block of the pool, `[block, batch]`.

    That is the squared distance but for |s|^2, which ranks nothing for a given state.
    """
    norms = pool.square().sum(1, keepdim=True)
    squared = torch.addmm(norms, pool, states.T, alpha=-2)  # [step, batch]
    missing = -len(pool) % BLOCK
    if missing:
        squared = torch.nn.functional.pad(squared, (0, 0, 0, missing), value=torch.inf)
    return squared.view(-1, BLOCK, len(states)).amin(1)
