import pytest

from pbrl.agents import AGENTS, agent_class
from pbrl.agents.sac import SAC


def test_agents_are_found_by_name():
    assert agent_class("sac") is SAC


def test_every_registered_name_leads_to_a_class():
    for name in AGENTS:
        assert isinstance(agent_class(name), type)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="unknown agent 'sca'; did you mean 'sac'"):
        agent_class("sca")
