from dataclasses import replace

import pytest
import torch

from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.offline.report import cover, suitability, summarize
from pbrl.offline.steps import dataset_steps
from pbrl.replay import ReplayBuffer


def make_dataset(length=200, num_episodes=20, spread=1.0, bounds=False):
    generator = torch.Generator().manual_seed(0)
    total = length * num_episodes
    actions = 0.4 * torch.randn(total, 2, generator=generator).clamp(-2, 2)
    rewards = 1 + spread * torch.rand(num_episodes, generator=generator)
    replay = ReplayBuffer.from_episodes(
        observations=torch.randn(total, 3, generator=generator),
        actions=actions.sign() if bounds else actions,
        true_rewards=rewards.repeat_interleave(length),
        last_observations=torch.zeros(num_episodes, 3),
        lengths=torch.full((num_episodes,), length),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
    )
    return OfflineDataset(DatasetInfo(name="x", family="npz"), replay)


def verdicts(dataset):
    steps = dataset_steps(dataset.replay)
    return {fit.agent: fit for fit in suitability(dataset, summarize(dataset), cover(steps))}


def test_an_ordinary_dataset_suits_everybody():
    found = verdicts(make_dataset())
    assert list(found) == ["bc", "bc, best 10 %", "iql", "p-iql", "sft", "cpl", "ipl"]
    assert found["iql"].verdict == found["cpl"].verdict == found["ipl"].verdict == "yes"
    assert found["bc"].verdict == "with care"  # good and bad episodes alike
    assert found["bc, best 10 %"].reason == "2 episodes are left to imitate"


@pytest.mark.parametrize(
    ("changes", "agent", "verdict", "reason"),
    [
        ({"spread": 0.0}, "bc", "yes", "about the same"),
        ({"spread": 0.0}, "bc, best 10 %", "no", "no episode is clearly better"),
        ({"spread": 0.0}, "iql", "no", "every reward is 1"),
        ({"length": 40}, "cpl", "with care", "no episode has 64 steps"),
        ({"length": 70}, "ipl", "with care", "only 140 segments"),
        ({"bounds": True}, "cpl", "with care", "100% of the actions are at a bound"),
    ],
)
def test_what_speaks_against_a_method_is_said(changes, agent, verdict, reason):
    fit = verdicts(make_dataset(**changes))[agent]
    assert fit.verdict == verdict
    assert reason in fit.reason


def test_loose_segments_have_no_next_observations():
    dataset = replace(make_dataset(), has_last_observations=False)
    found = verdicts(dataset)
    assert (found["iql"].verdict, found["p-iql"].verdict) == ("no", "with care")
    assert "loose segments" in found["ipl"].reason
    assert found["cpl"].verdict == "yes"


def test_sparse_rewards_are_noticed():
    dataset = make_dataset()
    state = dataset.replay.state_dict()
    state["ring"]["true_rewards"].zero_()
    state["ring"]["true_rewards"][::500] = 1.0
    fit = verdicts(dataset)["iql"]
    assert fit.verdict == "with care"
    assert "of the rewards are 0" in fit.reason
