import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pbrl.agents import Agent
from pbrl.agents.drqv2 import DrQv2, DrQv2Config
from pbrl.batches import Batch, BatchSteps, MultiStepBatch
from pbrl.encoders import EncoderConfig, shift_each, shift_images
from pbrl.taco import TacoConfig

SHAPE = (3, 20, 20)
SIZE = math.prod(SHAPE)
SMALL = {
    "encoder": EncoderConfig(image_shape=SHAPE, num_filters=4, num_features=10, shift=2),
    "hidden_size": 16,
}
UNSHIFTED = replace(SMALL["encoder"], shift=0)
TACO = TacoConfig(num_features=8, hidden_size=16)


def make(seed=0, **config):
    draws = torch.Generator().manual_seed(seed)
    return DrQv2(DrQv2Config(**(SMALL | config)), SIZE, 2, generator=draws)


def some_batch(number=6, seed=0, steps=3):
    draws = torch.Generator().manual_seed(seed)

    def images():
        return torch.randint(256, (number, SIZE), generator=draws, dtype=torch.uint8)

    actions = 2 * torch.rand(number, steps, 2, generator=draws) - 1
    following = images()
    return MultiStepBatch(
        observations=images(),
        actions=actions[:, 0],
        rewards=torch.rand(number, generator=draws),
        next_observations=following,
        terminated=(torch.rand(number, generator=draws) < 0.3).float(),
        action_sequences=actions,
        later_observations=following,
        is_whole=torch.ones(number, dtype=torch.bool),
    )


def parameters(*modules):
    return sum(part.numel() for module in modules for part in module.parameters())


def test_the_networks_have_the_sizes_of_the_official_code():
    agent = DrQv2(
        DrQv2Config(taco=TacoConfig()), 9 * 84 * 84, 6, generator=torch.Generator().manual_seed(0)
    )
    taco = agent.taco
    assert agent.encoder.num_outputs == 39_200
    assert parameters(agent.encoder) == 30_368
    assert parameters(taco.state_features) == 1_960_150
    trunk = 39_200 * 50 + 50 + 2 * 50
    assert parameters(agent.actor) == trunk + (50 * 1024 + 1024) + (1024**2 + 1024) + 1024 * 6 + 6
    critic = (58 * 1024 + 1024) + (1024**2 + 1024) + 1024 + 1
    assert parameters(agent.critic) == trunk + 2 * critic
    assert parameters(taco, agent.actor, agent.critic) == 9_450_865  # as their code has
    assert agent.batch_steps == BatchSteps(num_rewards=3, num_actions=3, discount=0.99)


def test_shifts_are_those_of_a_padded_and_interpolated_image():
    images = some_batch().observations
    offsets = torch.tensor([[-2, 1], [0, 0], [2, 2], [1, -2], [-1, -1], [2, -2]])
    found = shift_images(images[:, None], SHAPE, offsets)[:, 0]
    pad, side = 2, SHAPE[1]
    padded = F.pad(images.view(-1, *SHAPE).float(), (pad,) * 4, mode="replicate")
    full = side + 2 * pad
    line = torch.linspace(-1 + 1 / full, 1 - 1 / full, full)[:side]
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    moved = torch.stack([columns, rows], -1)[None] + (offsets.flip(1) + pad)[:, None, None] * (
        2 / full
    )
    official = F.grid_sample(padded, moved, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(found.view(-1, *SHAPE).float(), official, atol=0.01, rtol=0)


def test_each_image_is_shifted_by_its_own_draw():
    config = SMALL["encoder"]
    draws = torch.Generator().manual_seed(0)
    row = torch.arange(20, dtype=torch.uint8).repeat(3 * 20)
    shifted = shift_each(row.expand(200, -1), config, draws).view(200, *SHAPE)
    middles = shifted[:, 0, 10, 10]
    assert sorted(middles.unique().tolist()) == [8, 9, 10, 11, 12]
    assert shift_each(row.expand(2, -1), UNSHIFTED, draws).equal(row.expand(2, -1))


@pytest.mark.parametrize("taco", [None, TACO, TacoConfig(num_actions=1, num_features=8)])
def test_an_update_reaches_every_parameter(taco):
    agent = make(taco=taco)
    assert isinstance(agent, Agent)
    before = copy.deepcopy(agent.state_dict())
    metrics = agent.update(some_batch(steps=agent.batch_steps.num_actions))
    assert all(value.ndim == 0 and value.isfinite() for value in metrics.values())
    after = agent.state_dict()
    for part in ("encoder", "actor", "critic", "target_critic", *(["taco"] if taco else [])):
        for name, value in after[part].items():
            if name.endswith("weight"):
                assert not torch.equal(value, before[part][name]), (part, name)
    assert agent.num_updates == 1


def test_the_critic_s_target_by_hand():
    agent = make(noise=(0.0, 0.0), num_return_steps=2, encoder=UNSHIFTED)
    batch = some_batch()
    with torch.no_grad():
        features = agent.encoder(batch.next_observations)
        trunk = agent.target_critic.trunk(features)
        inputs = torch.cat([trunk, agent.actor(features)], -1)
        next_q = agent.target_critic.critics(inputs[None])[..., 0].min(0).values
        target = batch.rewards + 0.99**2 * (1 - batch.terminated) * next_q
    found = agent.update(batch)["target_q"]
    torch.testing.assert_close(found, target.mean())


def test_the_actor_s_loss_does_not_train_the_encoder():
    agent = make()
    encoder = copy.deepcopy(agent.encoder.state_dict())
    features = agent.encoder(some_batch().observations).detach()
    agent.update_actor(features, some_batch().actions)
    assert all(
        torch.equal(value, encoder[name]) for name, value in agent.encoder.state_dict().items()
    )
    assert all(part.grad is None for part in agent.critic.parameters())


def test_two_optimizers_step_encoder_and_codes():
    """As in TACO's code: the critic's and TACO's, with moments of their own."""
    agent = make(taco=TACO)
    for optimizer in (agent.critic_optimizer, agent.taco_optimizer):
        stepped = {id(part) for group in optimizer.param_groups for part in group["params"]}
        for module in (agent.encoder, agent.taco.token):
            assert {id(part) for part in module.parameters()} <= stepped


def test_windows_that_an_episode_cuts_off_teach_taco_nothing():
    agent = make(taco=TacoConfig(num_features=8, hidden_size=16, curl=False, reward=False))
    batch = some_batch()
    cut = MultiStepBatch(**(vars(batch) | {"is_whole": torch.zeros(6, dtype=torch.bool)}))
    before = copy.deepcopy(agent.taco.foretell.state_dict())
    agent.update_taco(cut)
    after = agent.taco.foretell.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_noise_falls_and_stays_inside():
    agent = make(noise=(1.0, 0.1), noise_updates=100)
    seen = some_batch(64).observations
    wide = agent.act(seen, deterministic=False) - agent.act(seen, deterministic=True)
    agent.num_updates = 1_000
    narrow = agent.act(seen, deterministic=False) - agent.act(seen, deterministic=True)
    assert narrow.std() < 0.5 * wide.std()
    assert agent.act(seen, deterministic=False).abs().max() <= 1
    assert torch.equal(agent.act(seen, deterministic=True), agent.act(seen, deterministic=True))


def test_a_restored_agent_learns_on_bit_for_bit():
    agent, other = make(taco=TACO), make(seed=5, taco=TACO)
    agent.update(some_batch())
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    other.generator.set_state(agent.generator.get_state())
    agent.update(some_batch(seed=1))
    other.update(some_batch(seed=1))
    for one, two in zip(
        agent.encoder.state_dict().values(), other.encoder.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    found = [one.act(some_batch().observations, deterministic=True) for one in (agent, other)]
    assert torch.equal(*found)


def test_a_new_critic_leaves_the_rest():
    agent = make()
    actor, critic = copy.deepcopy(agent.actor.state_dict()), agent.critic
    agent.reset_critic()
    assert agent.critic is not critic
    assert all(torch.equal(value, actor[name]) for name, value in agent.actor.state_dict().items())


def test_with_cloning_the_actor_comes_to_what_was_done():
    agent = make(
        encoder=UNSHIFTED, cloning=1e-3, learning_rate=1e-2, num_return_steps=1, noise=(0.0, 0.0)
    )
    batch = some_batch(steps=1)
    plain = Batch(**{name: getattr(batch, name) for name in Batch.__dataclass_fields__})
    distances = []
    for _ in range(40):
        agent.update(plain)
        done = agent.act(batch.observations, deterministic=True)
        distances.append(float((done - batch.actions).square().mean()))
    assert distances[-1] < 0.5 * distances[0]


@pytest.mark.many_updates
@pytest.mark.parametrize("taco", [None, TacoConfig(num_actions=1, num_features=8, hidden_size=16)])
def test_it_finds_the_action_that_an_image_asks_for(taco):
    """Brighter images pay for larger actions; the batches are drawn at random."""
    agent = make(learning_rate=3e-3, num_return_steps=1, noise=(0.3, 0.3), taco=taco)
    draws = torch.Generator().manual_seed(0)

    def images(wanted):
        levels = (127.5 * (wanted + 1)).to(torch.uint8)
        return levels[:, None].expand(-1, SIZE).contiguous()

    for _ in range(200):
        wanted = 2 * torch.rand(64, generator=draws) - 1
        actions = 2 * torch.rand(64, 2, generator=draws) - 1
        paid = 1 - (actions[:, 0] - wanted).square()
        agent.update(Batch(images(wanted), actions, paid, images(wanted), torch.ones(64)))
    wanted = torch.linspace(-0.9, 0.9, 50)
    found = agent.act(images(wanted), deterministic=True)[:, 0]
    assert torch.corrcoef(torch.stack([wanted, found]))[0, 1] > 0.9
    assert (found - wanted).abs().mean() < 0.35


def test_batches_of_one_step_are_refused_where_more_are_wanted():
    batch = some_batch()
    plain = Batch(**{name: getattr(batch, name) for name in Batch.__dataclass_fields__})
    with pytest.raises(TypeError, match="the batch must reach over"):
        make().update(plain)


def test_observations_that_are_no_such_images():
    with pytest.raises(ValueError, match="observations of 24 numbers are not images"):
        DrQv2(DrQv2Config(**SMALL), 24, 2, generator=torch.Generator())


@pytest.mark.parametrize(
    ("field", "value"), [("noise_limit", 0.0), ("num_return_steps", 0), ("cloning", 0.0)]
)
def test_impossible_numbers(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        DrQv2Config(**{field: value})
