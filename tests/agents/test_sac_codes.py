"""SAC that sees through TACO's codes."""

import copy

import pytest
import torch

from pbrl.agents import Agent
from pbrl.agents.sac import SAC, SACConfig
from pbrl.batches import BatchSteps
from pbrl.state_codes import StateCodesConfig
from pbrl.taco import TacoConfig, token_size
from tests.multi_step_batches import multi_step_batch

OBS, ACT = 5, 2
CODES = StateCodesConfig(
    hidden_sizes=(16, 12),
    taco=TacoConfig(num_features=8, hidden_size=16, reward=False, noise=0.03),
)


def make(seed=0, device="cpu", **config):
    draws = torch.Generator(device).manual_seed(seed)
    config = SACConfig(hidden_sizes=(16, 16), codes=CODES, **config)
    return SAC(config, OBS, ACT, device=device, generator=draws)


def batch(seed=0, number=32):
    return multi_step_batch((OBS, ACT), number=number, seed=seed)


def test_the_networks_see_codes():
    agent = make()
    assert isinstance(agent, Agent)
    assert agent.batch_steps == BatchSteps(num_actions=3)
    assert agent.critic.num_inputs == 12 + token_size(ACT)
    seen = batch().observations
    assert agent.act(seen, deterministic=True).shape == (32, ACT)
    assert agent.q_values(seen, batch().actions).shape == (2, 32)
    assert agent.log_prob(seen, batch().actions).shape == (32,)


@pytest.mark.parametrize("normalize", [False, True])
def test_an_update_reaches_codes_and_networks(normalize):
    agent = make(normalize_observations=normalize)
    before = copy.deepcopy(agent.state_dict())
    metrics = agent.update(batch())
    assert "codes_loss" in metrics
    after = agent.state_dict()
    for part in ("actor", "critic", "target_critic", "codes"):
        for name, value in after[part].items():
            if name.endswith("weight") and not name.startswith("reward_head"):
                unchanged = part == "target_critic" and agent.config.target_update_every > 1
                assert unchanged or not torch.equal(value, before[part][name]), (part, name)


def test_the_critics_loss_trains_the_encoders_and_the_actor_s_does_not():
    agent = make()
    encoders = [part.clone() for part in agent.codes.encoders()]
    agent.update_actor(agent.codes.encode_states(batch().observations).detach())
    assert all(torch.equal(*pair) for pair in zip(encoders, agent.codes.encoders(), strict=True))
    agent.update_critic(agent._encoded(batch()))
    pairs = zip(encoders, agent.codes.encoders(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)


def test_single_transitions_are_refused():
    single = batch()
    plain = type(single).__mro__[1](
        single.observations, single.actions, single.rewards, single.next_observations,
        single.terminated,
    )  # fmt: skip
    with pytest.raises(TypeError, match="the batch must reach over"):
        make().update(plain)


def test_a_restored_agent_learns_on_bit_for_bit():
    agent, other = make(), make(seed=7)
    agent.update(batch())
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    other.generator.set_state(agent.generator.get_state())
    for one in (agent, other):
        one.update(batch(seed=1))
    seen = batch().observations
    assert torch.equal(*(one.act(seen, deterministic=True) for one in (agent, other)))


def test_a_new_critic_keeps_the_codes():
    agent = make()
    encoders = [part.clone() for part in agent.codes.encoders()]
    agent.reset_critic()
    assert all(torch.equal(*pair) for pair in zip(encoders, agent.codes.encoders(), strict=True))
    agent.update(batch())
