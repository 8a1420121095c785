import pytest
import torch

from pbrl.crops import CropConfig
from pbrl.feedback import LabelledQueries
from pbrl.label_noise import LabelNoiseConfig
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.reward_seeds import take_passes_together
from pbrl.rewards import RewardConfig, RewardEnsemble

SEEDS, OBS, ACT, HORIZON = (5, 2, 7), 3, 1, 8
NETWORK = RewardConfig(
    num_members=2, hidden_sizes=(16,), normalize_observations=True, normalize_rewards=True
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walks(seed: int) -> ReplayBuffer:
    """Eight episodes of 30 random steps; the reward is the first number of the observation."""
    replay = ReplayBuffer(240, OBS, ACT, num_envs=8)
    draws = generator(seed)
    states = torch.randn(31, 8, OBS, generator=draws).cumsum(0) / 3
    for step in range(30):
        actions = 2 * torch.rand(8, ACT, generator=draws) - 1
        ended = torch.zeros(8, dtype=torch.bool)
        reward = states[step, :, 0]
        replay.add(
            states[step], actions, reward, reward, states[step + 1], ended, ended | (step == 29)
        )
    return replay


def labelled(replay: ReplayBuffer, number: int, seed: int) -> LabelledQueries:
    index = replay.sample_segments(2 * number, HORIZON, generator(seed)).reshape(number, 2)
    returns = replay.gather(index).true_returns()
    return LabelledQueries(index, (returns[:, 1] > returns[:, 0]).float(), torch.ones(number))


def learner(seed: int, config: RewardLearningConfig, network: RewardConfig) -> RewardLearner:
    return RewardLearner(config, RewardEnsemble(network, OBS, ACT, generator=generator(seed)))


def fit(config, network=NETWORK, numbers=(40, 40, 40), sessions=2):
    """Return what seeds come to one by one, and at once: metrics of each session, and learners."""
    outcomes = []
    for together in (False, True):
        learners = [learner(seed, config, network) for seed in SEEDS]
        replays = [walks(seed) for seed in SEEDS]
        draws = [generator(10 + seed) for seed in SEEDS]
        metrics = []
        for session in range(sessions):
            asked = [
                labelled(replay, number, 20 + seed + session)
                for replay, number, seed in zip(replays, numbers, SEEDS, strict=True)
            ]
            given = zip(learners, asked, replays, draws, strict=True)
            if together:
                begun = [one.begin(*rest) for one, *rest in given]
                take_passes_together(learners, begun)
                metrics.append([one.end(it) for one, it in zip(learners, begun, strict=True)])
            else:
                metrics.append([one.fit(*rest) for one, *rest in given])
        outcomes.append((metrics, learners))
    return outcomes


def steps_of(metrics) -> set[float]:
    return {found["reward/steps"] for session in metrics for found in session}


CONFIGS = {
    "whole segments": (RewardLearningConfig(batch_size=16, passes=4), NETWORK, (40, 40, 40)),
    "crops": (
        RewardLearningConfig(
            batch_size=16, passes=3, crops=CropConfig(num_crops=3, min_cut=1, max_cut=3)
        ),
        NETWORK,
        (40, 40, 40),
    ),
    "until they fit": (
        RewardLearningConfig(batch_size=16, passes=40, target_accuracy=0.9, learning_rate=3e-3),
        NETWORK,
        (40, 40, 40),
    ),
    "of the session": (
        RewardLearningConfig(
            batch_size=16, passes=40, target_accuracy=0.8, accuracy_over="session"
        ),
        NETWORK,
        (40, 40, 40),
    ),
    "own queries for each member": (
        RewardLearningConfig(batch_size=16, passes=3, bootstrap_share=0.6),
        NETWORK,
        (40, 40, 40),
    ),
    "unequal numbers": (RewardLearningConfig(batch_size=16, passes=3), NETWORK, (40, 30, 40)),
    "out of memory": (
        RewardLearningConfig(batch_size=16, passes=3, memory_limit=1e-9),
        NETWORK,
        (40, 40, 40),
    ),
    "noisy labels": (
        RewardLearningConfig(batch_size=16, passes=3, label_noise=LabelNoiseConfig()),
        NETWORK,
        (40, 40, 40),
    ),
}


@pytest.mark.many_updates
@pytest.mark.parametrize("name", CONFIGS)
def test_seeds_learn_together_what_they_learn_alone(name):
    config, network, numbers = CONFIGS[name]
    (alone, singles), (together, members) = fit(config, network, numbers)
    for of_one, of_all in zip(alone, together, strict=True):
        for expected, found in zip(of_one, of_all, strict=True):
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for single, member in zip(singles, members, strict=True):
        torch.testing.assert_close(member.state_dict(), single.state_dict(), rtol=1e-4, atol=1e-6)


def test_a_seed_that_fits_leaves_the_others():
    (alone, _), _ = fit(CONFIGS["until they fit"][0])
    assert len(steps_of(alone)) > 1  # else the case above shows nothing of it


def test_seeds_differ():
    _, (_, members) = fit(RewardLearningConfig(batch_size=16, passes=4))
    first, second, _ = (next(iter(one.ensemble.network.parameters())) for one in members)
    assert (first - second).abs().max() > 0.1
