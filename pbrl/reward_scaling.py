"""Rewards brought to the scale that an offline learner is tuned for."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.replay import ReplayBuffer

MemberRule = Literal["mean", "standardized"]
Scaling = Literal["none", "return-range", "root-mean-square", "z-score"]


@dataclass(frozen=True, kw_only=True)
class RewardScalingConfig:
    """What is done to the rewards of a dataset before a policy learns from them.

    Attributes:
        kind: "return-range" stretches the returns of episodes to a range of `factor`, as IQL and
            Preference Transformer do (Kim et al. 2023, their code); "z-score" makes the mean of all
            rewards 0 and their standard deviation 1; "root-mean-square" makes the mean of their
            squares 1 and leaves 0 at 0, so that an episode earns what it earned, in another unit;
            "none" leaves them.
        factor: of "return-range", above 0. IQL: 1,000 on locomotion; Preference Transformer: the
            time limit of the task's environment.
        spread_lowest: with "return-range", first take the lowest return off every episode, in equal
            parts over its steps: theirs on AntMaze.
        shift: added at the end. Theirs to learned rewards: 0.5 on MuJoCo, -1 on AntMaze, 0
            elsewhere; to true ones -1 on AntMaze alone.
    """

    kind: Scaling = "none"
    factor: float = 1_000.0
    spread_lowest: bool = False
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Scaling):
            raise ValueError(f"kind must be one of {get_args(Scaling)}, got {self.kind!r}")
        if self.factor <= 0:
            raise ValueError(f"factor must be above 0, got {self.factor}")
        if self.spread_lowest and self.kind != "return-range":
            raise ValueError('spread_lowest belongs to the kind "return-range"')


def joined_members(
    rewards: Float[Tensor, "member step"], rule: MemberRule = "standardized"
) -> Float[Tensor, " step"]:
    """Return the mean over the members of what each says.

    Args:
        rewards: of the steps of a dataset.
        rule: "standardized" first brings each member to mean 0 and standard deviation 1 over the
            steps, DTR's ensemble normalisation (Tu et al. 2025). The result has mean 0 and a
            standard deviation of 1 only if the members agree: where they do not, the rewards
            shrink. A member that gives all steps the same reward tells nothing and is left out; if
            all do, the result is 0. "mean" takes the members as they are.
    """
    if rule == "mean":
        return rewards.mean(0)
    centred = rewards - rewards.mean(1, keepdim=True)
    std = centred.square().mean(1, keepdim=True).sqrt()
    smallest = torch.finfo(rewards.dtype).eps * rewards.abs().amax(1, keepdim=True)
    counts = std > smallest
    standardized = torch.where(counts, centred / torch.where(counts, std, 1.0), 0.0)
    return standardized.sum(0) / counts.sum().clamp(min=1)


def scale_rewards(replay: ReplayBuffer, config: RewardScalingConfig) -> None:
    """Scale the rewards to learn from of a replay buffer, in place.

    Raises:
        ValueError: if all episodes have the same return and are to be told apart by it.
    """
    rewards = replay.all_rewards()
    rewards.copy_(scaled(rewards, replay.all_episodes(), config))


def scaled(
    rewards: Float[Tensor, " step"], episode: Int[Tensor, " step"], config: RewardScalingConfig
) -> Float[Tensor, " step"]:
    """Return the rewards in their new scale.

    Args:
        rewards: of each step.
        episode: that each step belongs to.
        config: what is done.

    Raises:
        ValueError: if all episodes have the same return and are to be told apart by it.
    """
    match config.kind:
        case "none":
            values = rewards
        case "z-score":
            std = rewards.std(correction=0).clamp(min=torch.finfo(rewards.dtype).tiny)
            values = (rewards - rewards.mean()) / std
        case "root-mean-square":
            size = rewards.square().mean().sqrt()
            values = rewards / size.clamp(min=torch.finfo(rewards.dtype).tiny)
        case "return-range":
            values = _by_return_range(rewards, episode, config)
    return values + config.shift


def _by_return_range(rewards: Tensor, episode: Tensor, config: RewardScalingConfig) -> Tensor:
    _, place, lengths = torch.unique(episode, return_inverse=True, return_counts=True)
    returns = torch.zeros(len(lengths), dtype=torch.float64, device=rewards.device)
    returns.index_add_(0, place, rewards.double())
    lowest, highest = returns.aminmax()
    if not bool(highest > lowest):
        raise ValueError(
            f"the returns of all {len(returns)} episodes are {float(lowest):g}: their range cannot "
            'scale rewards; choose another kind, such as "z-score"'
        )
    if config.spread_lowest:
        rewards = rewards - (lowest / lengths).to(rewards.dtype)[place]
    return rewards * float(config.factor / (highest - lowest))
