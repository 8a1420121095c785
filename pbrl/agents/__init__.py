"""Agents by name; each is imported when it is first asked for."""

import importlib
from collections.abc import Mapping
from typing import Any

from pbrl.agents.protocol import Agent
from pbrl.lookup import look_up

# The settings that these names stand for are in `pbrl.agents.cpl_variants`.
_CPL = (
    "cpl", "cpl-bc", "cpl-kl", "cpl-dense", "cpl-ranked",
    "dpo", "ipo", "slic", "rdpo", "cdpo", "lcpo", "dppo-graded",
)  # fmt: skip
AGENTS: Mapping[str, str] = {
    "bc": "pbrl.agents.bc:BC",
    "%bc": "pbrl.agents.bc:BC",
    "sft": "pbrl.agents.bc:BC",
    "iql": "pbrl.agents.iql:IQL",
    "p-iql": "pbrl.agents.iql:IQL",
    "p-iql-joint": "pbrl.agents.p_iql:JointPIQL",
    **dict.fromkeys(_CPL, "pbrl.agents.cpl:CPL"),
    "dppo": "pbrl.agents.dppo:DPPO",
    "dt": "pbrl.agents.dt:DecisionTransformer",
    "pb-dt": "pbrl.agents.dt:DecisionTransformer",
    "qt": "pbrl.agents.dtr:DTR",
    "pb-qt": "pbrl.agents.dtr:DTR",
    "dtr": "pbrl.agents.dtr:DTR",
    "hindsight-prior": "pbrl.agents.iql:IQL",
    "ipl": "pbrl.agents.ipl:IPL",
    "oppo": "pbrl.agents.oppo:OPPO",
    "pearl": "pbrl.agents.iql:IQL",
    "ppo": "pbrl.agents.ppo:PPO",
    "preference-transformer": "pbrl.agents.iql:IQL",
    "sac": "pbrl.agents.sac:SAC",
    **dict.fromkeys(("drqv2", "taco"), "pbrl.agents.drqv2:DrQv2"),
    **dict.fromkeys(("td3-bc", "td3-bc-taco"), "pbrl.agents.td3_bc:TD3BC"),
}

__all__ = ["AGENTS", "Agent", "agent_class"]


def agent_class(name: str) -> type[Any]:
    """Return the class registered under `name` in `AGENTS`.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    module, _, attribute = look_up("agent", name, AGENTS).partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found
