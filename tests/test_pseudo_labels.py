import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.crops import whole_segments
from pbrl.feedback import TIE
from pbrl.preference import logistic_loss
from pbrl.pseudo_labels import PseudoLabelConfig, draw_unlabelled, pseudo_labels
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.tally import Tally
from tests.test_reward_learning import (
    HORIZON,
    agreement,
    generator,
    labelled_pairs,
    pendulum_walks,
)


def learner(pseudo: PseudoLabelConfig | None, **config) -> RewardLearner:
    ensemble = RewardEnsemble(RewardConfig(hidden_sizes=(32, 32)), 3, 1, generator=generator())
    return RewardLearner(RewardLearningConfig(pseudo_labels=pseudo, **config), ensemble)


def parameters(fitted: RewardLearner) -> torch.Tensor:
    return torch.cat([part.detach().flatten() for part in fitted.ensemble.network.parameters()])


def test_sure_labels_by_hand():
    """sigmoid(ln 99) = 0.99, so a margin of 4.5951 is just enough for a threshold of 0.99."""
    edge = math.log(99.0)
    margin = torch.tensor([edge + 1e-4, edge - 1e-2, -edge - 1e-4, 0.0, -1.0])
    labels, is_sure = pseudo_labels(margin, 0.99)
    assert labels.tolist() == [1, 1, 0, 0, 0]
    assert is_sure.tolist() == [True, False, True, False, False]


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=6), st.floats(0.5, 1))
@settings(max_examples=30)
def test_turned_pairs_get_turned_labels(margins, threshold):
    margin = torch.tensor(margins, dtype=torch.float64)
    labels, is_sure = pseudo_labels(margin, threshold)
    turned, is_sure_turned = pseudo_labels(-margin, threshold)
    assert torch.equal(is_sure, is_sure_turned)
    decided = margin != 0
    assert torch.equal(labels[decided], 1 - turned[decided])


def test_pairs_are_drawn_for_every_label_from_the_last_episodes():
    replay = pendulum_walks()
    config = PseudoLabelConfig(pool_ratio=7, episodes=3)
    drawn = draw_unlabelled(config, labelled_pairs(replay, 5), replay, generator())
    assert len(drawn) == 35
    assert (drawn.labels == TIE).all()
    assert (drawn.index.length == HORIZON).all()
    assert set(drawn.index.episode.flatten().tolist()) <= set(
        replay.completed_episodes(last=3).tolist()
    )


@pytest.mark.parametrize("score", ["sum", "mean"])
def test_the_loss_is_that_of_each_member_s_own_labels(score):
    replay = pendulum_walks()
    fitted = learner(PseudoLabelConfig(threshold=0.55, weight=0.5, batch_ratio=2), score=score)
    assert fitted.pseudo_labels is not None
    with torch.no_grad():  # margins that are sure now and then
        fitted.ensemble.network.layers[-2].weight.mul_(10.0)
    pool = fitted.pseudo_labels.draw(labelled_pairs(replay, 3), replay, generator(), 1e6)
    tally = Tally(pool.labels.device)
    tally.num_steps = 1
    parts = fitted.pseudo_labels.losses(
        pool, 20, crop=whole_segments, tally=tally, generator=generator(4)
    )
    found = sum(parts)
    rows = torch.randint(len(pool), (3, 40), generator=generator(4))
    rewards = fitted.ensemble.evaluate(pool.windows.take(pool.pairs[rows]))
    scores = rewards.sum(-1) if score == "sum" else rewards.mean(-1)
    margin = scores.diff(dim=-1)[..., 0]
    is_sure = torch.maximum(margin.sigmoid(), 1 - margin.sigmoid()) >= 0.55
    costs = logistic_loss(margin, (margin > 0).float()) * is_sure
    torch.testing.assert_close(found, 0.5 * costs.mean(1).sum())
    assert 0 < tally.sure() < 1
    assert tally.sure() == pytest.approx(is_sure.double().mean().item())
    found.backward()
    assert all((part.grad != 0).any() for part in fitted.ensemble.network.parameters())


def test_few_labels_do_not_lessen_the_pairs_without_one(monkeypatch):
    replay = pendulum_walks()
    fitted = learner(PseudoLabelConfig(batch_ratio=2), passes=1, batch_size=16)
    assert fitted.pseudo_labels is not None
    sizes = []

    def losses(pairs, batch_size, **parts):
        sizes.append(batch_size)
        return iter(())

    monkeypatch.setattr(fitted.pseudo_labels, "losses", losses)
    fitted.fit(labelled_pairs(replay, 20), replay, generator(3))
    assert sizes == [16, 16]  # labelled pairs: 16, and the other 4


def test_without_weight_the_labels_alone_teach():
    """All draw the same numbers, so that the pairs' loss alone tells them apart."""
    replay = pendulum_walks()
    labelled = labelled_pairs(replay, 20)
    muted, unsure, eager = (
        learner(PseudoLabelConfig(pool_ratio=5, **change), passes=3)
        for change in ({"weight": 0.0}, {"threshold": 1.0}, {"threshold": 0.5})
    )
    metrics = [one.fit(labelled, replay, generator(3)) for one in (muted, unsure, eager)]
    assert torch.equal(parameters(muted), parameters(unsure))
    assert not torch.equal(parameters(muted), parameters(eager))
    assert [one["reward/sure"] for one in metrics[1:]] == [0.0, 1.0]
    assert "reward/sure" not in learner(None, passes=1).fit(labelled, replay, generator(3))


def test_a_reward_learned_so_orders_unseen_pairs():
    replay = pendulum_walks()
    fitted = learner(PseudoLabelConfig(pool_ratio=10), passes=40, batch_size=16)
    metrics = fitted.fit(labelled_pairs(replay, 60), replay, generator(3))
    assert 0.02 < metrics["reward/sure"] < 1
    assert agreement(fitted, replay) > 0.85


@pytest.mark.parametrize(
    "change",
    [{"threshold": 0.4}, {"weight": -1.0}, {"batch_ratio": 0}, {"pool_ratio": 0}, {"episodes": 0}],
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        PseudoLabelConfig(**change)
