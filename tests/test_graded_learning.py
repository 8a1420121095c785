import numpy as np
import pytest
import torch

from pbrl.graded_file import load_graded
from pbrl.graded_learning import GradedLearner, GradedLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble

CONFIG = RewardConfig(num_members=2, hidden_sizes=(32,), normalize_rewards=True)


def graded_file(path, *, num=60, items=None):
    """Segments whose true reward is their first observation, rated or ranked by its sum."""
    rng = np.random.default_rng(0)
    shape = (num,) if items is None else (num, items)
    obs = rng.normal(size=(*shape, 4, 3)) + rng.normal(size=(*shape, 1, 1))
    returns = obs[..., 0].sum(-1)
    arrays = {"obs": obs, "action": rng.uniform(-1, 1, (*shape, 4, 1)), "annotator": ["ada"] * num}
    if items is None:
        grade = np.digitize(returns, np.quantile(returns, [0.25, 0.5, 0.75]))
        arrays["num_classes"] = 4
    else:
        grade = returns.argsort(-1).argsort(-1)
    np.savez(path, grade=grade, **arrays)
    return load_graded(path), torch.from_numpy(returns)


def learner(seed=0, **config):
    ensemble = RewardEnsemble(CONFIG, 3, 1, generator=torch.Generator().manual_seed(seed))
    options = {"learning_rate": 3e-3, "batch_size": 30, "passes": 40} | config
    return GradedLearner(GradedLearningConfig(**options), ensemble)


def fit(learner, graded, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if graded.num_classes is None:
        return learner.fit_rankings(graded.index, graded.grades, graded.replay, generator)
    return learner.fit_ratings(
        graded.index, graded.grades.long(), graded.num_classes, graded.replay, generator
    )


def rank_correlation(learner, graded, returns):
    segments = graded.replay.gather(graded.index.reshape(-1))
    with torch.no_grad():
        found = learner.ensemble.segment_returns(segments).mean(0)
    return np.corrcoef(found.argsort().argsort(), returns.reshape(-1).argsort().argsort())[0, 1]


@pytest.mark.parametrize("items", [None, 3])
def test_rewards_are_learned(tmp_path, items):
    graded, returns = graded_file(tmp_path / "graded.npz", items=items)
    assert (graded.observation_dim, graded.action_dim) == (3, 1)
    one = learner()
    assert abs(rank_correlation(one, graded, returns)) < 0.7
    metrics = fit(one, graded)
    assert rank_correlation(one, graded, returns) > 0.9
    assert metrics["reward/steps"] == 80
    segments = graded.replay.gather(graded.index.reshape(-1))
    mean = one.ensemble.mean_reward(segments.observations, segments.actions).detach()
    assert float(mean.mean()) == pytest.approx(0, abs=1e-4)
    assert float(mean.std()) == pytest.approx(1, abs=1e-2)


def test_the_same_seed_learns_the_same_and_a_state_goes_on(tmp_path):
    graded, _ = graded_file(tmp_path / "graded.npz")
    first, second, other = (learner(passes=2) for _ in range(3))
    assert fit(first, graded) == fit(second, graded)
    other.load_state_dict(first.state_dict())
    assert fit(first, graded, 1) == fit(other, graded, 1)


def test_what_cannot_be_is_refused(tmp_path):
    graded, _ = graded_file(tmp_path / "graded.npz")
    generator = torch.Generator()
    for ratings, message in ((graded.grades.long(), "0 to 1, got 0 to 3"),):
        with pytest.raises(ValueError, match=message):
            learner().fit_ratings(graded.index, ratings, 2, graded.replay, generator)
    none = graded.index[:0]
    with pytest.raises(ValueError, match="no feedback"):
        learner().fit_ratings(none, torch.zeros(0).long(), 2, graded.replay, generator)
    for field in ({"passes": 0}, {"learning_rate": 0.0}, {"steepness": -1.0}):
        with pytest.raises(ValueError, match=next(iter(field))):
            GradedLearningConfig(**field)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, obs=np.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match="'action'"):
        load_graded(path)
    np.savez(path, obs=np.zeros((2, 4, 3)), action=np.zeros((2, 4, 1)), grade=[1], annotator=["a"])
    with pytest.raises(ValueError, match="must agree on their segments"):
        load_graded(path)
