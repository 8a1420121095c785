import pytest
import torch

from pbrl.replay import ReplayBuffer
from pbrl.segments import Segments
from pbrl.transformer import TransformerConfig
from pbrl.world_model import WorldModel, WorldModelConfig, WorldModelLearner, forward_loss

SMALL = WorldModelConfig(
    transformer=TransformerConfig(width=32, num_layers=2, num_heads=2, dropout=0.0),
    max_steps=8,
    learning_rate=3e-3,
    batch_size=16,
    initial_updates=150,
    session_updates=10,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pushed_points(length: int = 30, num_episodes: int = 8) -> ReplayBuffer:
    """A point that each action pushes by as much: the action foretells the change."""
    draws = generator(1)
    actions = 2 * torch.rand(num_episodes, length, 2, generator=draws) - 1
    places = torch.cat([torch.zeros(num_episodes, 1, 2), actions.cumsum(1)], 1)
    return ReplayBuffer.from_episodes(
        observations=places[:, :-1].flatten(0, 1),
        actions=actions.flatten(0, 1),
        true_rewards=torch.zeros(num_episodes * length),
        last_observations=places[:, -1],
        lengths=torch.full((num_episodes,), length),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
    )


def test_it_learns_what_actions_do():
    replay = pushed_points()
    learner = WorldModelLearner(SMALL, 2, 2, generator=generator())
    learner.fit(replay, 6)
    segments = replay.gather(replay.sample_segments(64, 7, generator(5)))
    model = learner.model
    changes = model.moments.standardize(segments.observations).diff(dim=1)
    mask = segments.mask[:, 1:]
    with torch.no_grad():
        predicted = model(segments.observations[:, :-1], segments.actions[:, :-1], mask)
    error = forward_loss(predicted, changes, mask)
    assert error < 0.4 * forward_loss(torch.zeros_like(changes), changes, mask)


def test_the_loss_by_hand():
    predicted = torch.tensor([[[1.0, 0.0], [5.0, 5.0]], [[0.0, 0.0], [0.0, 2.0]]])
    mask = torch.tensor([[True, False], [True, True]])
    assert forward_loss(predicted, torch.zeros(2, 2, 2), mask).item() == pytest.approx(0.5)


def random_segments(lengths: list[int], horizon: int, fill: float = 0.0) -> Segments:
    draws = generator(2)
    mask = torch.arange(horizon) < torch.tensor(lengths)[:, None]
    shape = (len(lengths), horizon)
    return Segments(
        torch.where(mask[..., None], torch.randn(*shape, 2, generator=draws), fill),
        torch.where(mask[..., None], torch.rand(*shape, 2, generator=draws), fill),
        mask,
        torch.zeros(shape),
    )


def test_attention_is_that_of_the_last_step_and_blind_to_padding():
    model = WorldModel(SMALL, 2, 2, generator=generator())
    rows = model.last_attention(random_segments([5, 2], 6))
    assert rows.shape == (2, 2, 2, 12)
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 2, 2))
    assert (rows[:, 1, :, 4:] == 0).all()
    torch.testing.assert_close(rows, model.last_attention(random_segments([5, 2], 6, fill=9.0)))


def test_reading_in_training_mode_is_refused():
    model = WorldModel(SMALL, 2, 2, generator=generator()).train()
    with pytest.raises(RuntimeError, match="evaluation mode"):
        model.last_attention(random_segments([3], 3))


def test_segments_longer_than_the_table_of_places_are_refused():
    model = WorldModel(SMALL, 2, 2, generator=generator())
    with pytest.raises(ValueError, match="segments of 9 steps .* 8 places"):
        model.last_attention(random_segments([9], 9))


def test_every_parameter_learns_and_nothing_is_due_twice():
    replay = pushed_points()
    config = WorldModelConfig(
        transformer=SMALL.transformer, max_steps=8, batch_size=4, initial_updates=1
    )
    learner = WorldModelLearner(config, 2, 2, generator=generator())
    before = {name: part.clone() for name, part in learner.model.named_parameters()}
    assert learner.fit(replay, 7)["world/updates"] == 1
    assert learner.fit(replay, 7) == {}
    assert not learner.model.training
    for name, part in learner.model.named_parameters():
        assert not torch.equal(part, before[name]), name


def test_segments_as_long_as_the_episodes_are_learned_all_but_the_end():
    learner = WorldModelLearner(SMALL, 2, 2, generator=generator())
    assert learner.fit(pushed_points(length=6), 6, max_updates=1)["world/updates"] == 1


def test_episodes_of_one_step_teach_nothing():
    learner = WorldModelLearner(SMALL, 2, 2, generator=generator())
    with pytest.raises(ValueError, match="a complete episode with two steps"):
        learner.fit(pushed_points(length=1), 1)


def test_of_an_overwritten_episode_what_is_left_is_learned_from():
    replay = ReplayBuffer(6, 2, 2)
    learner = WorldModelLearner(SMALL, 2, 2, generator=generator())
    for step in range(9):
        if step == 3:  # an episode in progress
            assert replay.longest_segment() == 0
            with pytest.raises(ValueError, match="a complete episode with two steps"):
                learner.fit(replay, 4)
        replay.add(
            observations=torch.full((1, 2), float(step)),
            actions=torch.zeros(1, 2),
            rewards=torch.zeros(1),
            true_rewards=torch.zeros(1),
            next_observations=torch.full((1, 2), step + 1.0),
            terminated=torch.zeros(1, dtype=torch.bool),
            truncated=torch.tensor([step == 8]),
        )
    assert replay.longest_segment() == 6  # of nine
    assert learner.fit(replay, 8, max_updates=1)["world/updates"] == 1


@pytest.mark.parametrize("field", ["max_steps", "batch_size", "initial_updates"])
def test_sizes_must_be_positive(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        WorldModelConfig(**{field: 0})


def test_the_transformer_must_be_causal():
    with pytest.raises(ValueError, match="must be causal, got bidirectional"):
        WorldModelConfig(transformer=TransformerConfig(kind="bidirectional"))
