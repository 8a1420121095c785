import torch

from pbrl.agents.acting import ActsByHistory, AgentPolicy, EpisodePolicy, LooksAtDataset, policy_of
from pbrl.agents.bc import BC, BCConfig
from pbrl.agents.dt import DecisionTransformer


class Counter:
    """Acts by the number of the step in the episode, plus what the agent was set to."""

    def __init__(self, agent):
        self.offset, self.steps = agent.offset, None

    def begin(self, is_first):
        if self.steps is None:
            self.steps = torch.zeros(len(is_first))
        self.steps[is_first] = 0

    def __call__(self, observations):
        self.steps += 1
        return (self.steps + self.offset)[:, None] + observations


class Agent:
    offset = 0.0

    def actor(self, *, deterministic=True):
        return Counter(self)


def all_of(number):
    return torch.ones(number, dtype=torch.bool)


def test_an_episode_policy_forgets_where_an_episode_begins():
    policy = policy_of(Agent())
    assert isinstance(policy, EpisodePolicy)
    zeros = torch.zeros(2, 1)
    assert policy(zeros).tolist() == [[1], [1]]
    policy.begin(torch.tensor([False, True]))
    assert policy(zeros).tolist() == [[2], [1]]


def test_it_acts_as_the_agent_is_when_all_episodes_begin():
    agent = Agent()
    policy = policy_of(agent)
    policy.begin(all_of(2))
    agent.offset = 10.0
    policy.begin(torch.tensor([True, False]))
    assert policy(torch.zeros(2, 1)).tolist() == [[1], [1]]
    policy.begin(all_of(2))
    assert policy(torch.zeros(2, 1)).tolist() == [[11], [11]]


def test_observations_are_viewed_first():
    agent = Agent()
    assert policy_of(agent, lambda seen: seen * 5)(torch.ones(1, 1)).tolist() == [[6]]
    bc = BC(BCConfig(), 3, 2, generator=torch.Generator())
    seen = torch.ones(4, 3)
    expected = bc.act(seen * 2, deterministic=True)
    assert torch.equal(policy_of(bc, lambda given: given * 2)(seen), expected)
    assert torch.equal(policy_of(bc)(seen), bc.act(seen, deterministic=True))


def test_agents_without_a_memory_stay_plain_functions():
    bc = BC(BCConfig(), 3, 2, generator=torch.Generator())
    assert not isinstance(bc, ActsByHistory | LooksAtDataset)
    assert not isinstance(policy_of(bc), EpisodePolicy)
    assert issubclass(DecisionTransformer, ActsByHistory)
    assert issubclass(DecisionTransformer, LooksAtDataset)
    assert issubclass(AgentPolicy, EpisodePolicy)
