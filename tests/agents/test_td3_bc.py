import copy
import math

import pytest
import torch

from pbrl.agents.drqv2 import DrQv2Config
from pbrl.agents.protocol import OfflineAgent
from pbrl.agents.td3_bc import TD3BC, TD3BCConfig
from pbrl.batches import BatchSteps, MultiStepBatch
from pbrl.encoders import EncoderConfig
from pbrl.pairs import OfflineBatch
from pbrl.taco import TacoConfig

SHAPE = (3, 20, 20)


def make(seed=0, **config):
    learner = DrQv2Config(
        encoder=EncoderConfig(image_shape=SHAPE, num_filters=2, num_features=4, shift=1),
        hidden_size=8,
        cloning=2.5,
        **config,
    )
    draws = torch.Generator().manual_seed(seed)
    return TD3BC(TD3BCConfig(learner=learner, batch_size=6), math.prod(SHAPE), 2, generator=draws)


def some_batch():
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 6, math.prod(SHAPE)), generator=draws, dtype=torch.uint8)
    actions = 2 * torch.rand(6, 3, 2, generator=draws) - 1
    whole = torch.ones(6, dtype=torch.bool)
    transitions = MultiStepBatch(
        images[0],
        actions[:, 0],
        torch.rand(6),
        images[1],
        torch.zeros(6),
        actions,
        images[2],
        whole,
    )
    return OfflineBatch(transitions=transitions)


def test_it_asks_for_transitions_that_reach_as_far_as_its_learner_s():
    agent = make(taco=TacoConfig(num_actions=2))
    assert isinstance(agent, OfflineAgent)
    assert agent.learns_from_rewards
    assert agent.batch_sizes.transitions == 6
    assert agent.batch_sizes.steps == BatchSteps(num_rewards=3, num_actions=2)


def test_it_learns_and_goes_on_bit_for_bit():
    agent, other = make(taco=TacoConfig()), make(seed=1, taco=TacoConfig())
    agent.update(some_batch())
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    other.learner.generator.set_state(agent.learner.generator.get_state())
    metrics = [one.update(some_batch())["actor_loss"] for one in (agent, other)]
    assert torch.equal(*metrics)
    seen = some_batch().transitions.observations
    assert agent.act(seen, deterministic=True).shape == (6, 2)


def test_what_holds_it_to_the_data_is_needed():
    with pytest.raises(ValueError, match=r"learner.cloning must be above 0"):
        TD3BCConfig(learner=DrQv2Config())


def test_a_batch_without_transitions_is_refused():
    with pytest.raises(ValueError, match="the batch must hold what"):
        make().update(OfflineBatch())
