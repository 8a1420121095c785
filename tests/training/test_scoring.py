import pytest
import torch

from pbrl.agents.bc import BC, BCConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.envs import make
from pbrl.feedback import LabelledQueries
from pbrl.offline.dataset import ReferenceScores
from pbrl.training.scoring import EnvironmentScorer, HeldOutScorer
from tests.training import point_mass
from tests.training.point_mass import BEST, ENV, STILL, make_data

REFERENCE = ReferenceScores(STILL, BEST, "point-mass")


def scorer(act, **changes):
    env = make(ENV, 10, seed=0, device="cpu")
    noise = torch.Generator().manual_seed(0)
    return EnvironmentScorer(act, env, 20, seed=1, noise=noise, **changes)


def straight(seen):
    return (2 * (torch.tensor([1.0, 0.0]) - seen)).clamp(-1, 1)


def test_the_known_policies_score_0_and_100():
    best = scorer(straight, reference=REFERENCE)()
    assert best.name == "normalized_return"
    assert best.value == pytest.approx(100, abs=1.5)
    assert best.metrics["eval/return"] == pytest.approx(BEST, abs=0.5)
    assert scorer(torch.zeros_like, reference=REFERENCE)().value == pytest.approx(0, abs=1.5)


def test_without_a_reference_the_score_is_the_return_and_is_the_same_each_time():
    made = scorer(straight)
    first, second = made(), made()
    assert (first.name, first.value) == ("return", second.value)
    assert made.random().value < first.value


def agent(observation_dim=2):
    policy = PolicyConfig(hidden_sizes=(16,), dropout=0.5)
    return BC(BCConfig(policy=policy), observation_dim, 2, generator=torch.Generator())


def held_out_scorer(preferences="all", **changes):
    dataset, labels = make_data(num_pairs=30)
    held_out = labels.labelled if preferences == "all" else None
    segments = dataset.replay.gather(labels.segments)
    return HeldOutScorer(agent(), dataset.replay, held_out=held_out, segments=segments, **changes)


def test_the_accuracy_of_the_right_scores_is_1_and_of_the_wrong_ones_0():
    by_return = held_out_scorer(score=lambda segments: segments.true_returns())()
    assert (by_return.name, by_return.value) == ("label_accuracy", 1.0)
    assert held_out_scorer(score=lambda segments: -segments.true_returns())().value == 0.0
    assert held_out_scorer(score=lambda segments: torch.zeros(len(segments), 2))().value == 0.0


def test_ties_are_not_judged():
    dataset, labels = make_data(num_pairs=30)
    given = labels.labelled
    ties = torch.where(torch.arange(30) < 20, 0.5, 1 - given.labels)
    made = HeldOutScorer(
        agent(),
        dataset.replay,
        held_out=LabelledQueries(given.index, ties, given.weights),
        segments=dataset.replay.gather(labels.segments),
        score=lambda segments: segments.true_returns(),
    )
    assert made().value == 0.0


def test_the_likelihood_is_that_of_a_step_without_dropout():
    made = held_out_scorer(None)
    first, second = made(), made()
    assert (first.name, first.value) == ("log_likelihood", second.value)
    policy, segments = made._agent.policy.eval(), made._segments
    expected = policy.log_prob(segments.observations, segments.actions).mean()
    assert first.value == pytest.approx(expected.item(), abs=1e-5)
    assert made.random() is None


def test_an_agents_own_scores_and_views_are_used():
    class Own(BC):
        def segment_scores(self, segments):
            return segments.observations.sum((-1, -2))

    dataset, labels = make_data(num_pairs=30)
    made = Own(BCConfig(), 2, 2, generator=torch.Generator())
    gathered = dataset.replay.gather(labels.labelled.index)
    score_0, score_1 = made.segment_scores(gathered).unbind(-1)
    by_hand = ((score_1 > score_0).float() == labels.labelled.labels).float().mean().item()
    for view, expected in ((1, by_hand), (-1, 1 - by_hand)):
        scored = HeldOutScorer(
            made,
            dataset.replay,
            held_out=labels.labelled,
            segments=gathered,
            view=lambda given, sign=view: type(given)(
                sign * given.observations, given.actions, given.mask, given.true_rewards
            ),
        )
        assert scored().value == pytest.approx(expected)


def test_an_agent_without_a_density_is_refused():
    dataset, labels = make_data(num_pairs=4)
    with pytest.raises(ValueError, match="object has no density"):
        HeldOutScorer(
            object(), dataset.replay, held_out=None, segments=dataset.replay.gather(labels.segments)
        )


def test_the_point_mass_is_as_it_is_described():
    dataset = point_mass.make_dataset(num_episodes=8)
    first = dataset.replay.gather(
        type(dataset.replay.sample_segments(1, 2, torch.Generator()))(
            torch.tensor([0]), torch.tensor([0]), torch.tensor([2])
        )
    )
    moved = first.observations[0, 0] + 0.1 * first.actions[0, 0]
    torch.testing.assert_close(first.observations[0, 1], moved)
