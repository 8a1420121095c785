"""The policy of a run, online or offline, out of its newest checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pbrl.agents.acting import policy_of
from pbrl.agents.protocol import OfflineAgent
from pbrl.randomness import Generators
from pbrl.training import run
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.config import TrainConfig
from pbrl.training.evaluation import Policy
from pbrl.training.fit_build import build_offline_agent
from pbrl.training.fit_config import FitConfig, decode_fit_config
from pbrl.training.offline import PURPOSES
from pbrl.training.run_folder import CHECKPOINTS, read_config
from pbrl.training.standardizer import Standardizer

OFFLINE_KEY = "method"  # of the configuration of an offline run, and of no other


@dataclass(frozen=True)
class SavedOffline:
    """The agent of an offline run as it was saved.

    Attributes:
        agent: who acts.
        view: what is done to observations before the agent sees them; None leaves them.
        config: of the run.
        observation_dim: size of an observation.
        action_dim: size of an action.
    """

    agent: OfflineAgent
    view: Standardizer | None
    config: FitConfig[Any]
    observation_dim: int
    action_dim: int


def load_policy(folder: Path) -> tuple[Policy, TrainConfig | FitConfig[Any]]:
    """Return the deterministic policy of the newest checkpoint of a run, and its configuration.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
        ValueError: if its configuration cannot be read.
    """
    if OFFLINE_KEY not in read_config(folder):
        return run.load_policy(folder)
    saved = load_offline(folder)
    return policy_of(saved.agent, saved.view), saved.config


def load_offline(folder: Path) -> SavedOffline:
    """Return the agent of the newest checkpoint of an offline run.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
        ValueError: if its configuration cannot be read.
    """
    config = decode_fit_config(read_config(folder))
    state = load_checkpoint(folder / CHECKPOINTS, None)[0]["loop"]
    observation_dim, action_dim = state["observation_dim"], state["action_dim"]
    generators = Generators(config.seed, PURPOSES, config.device)
    agent = build_offline_agent(config, observation_dim, action_dim, generators)
    agent.load_state_dict(state["agent"])
    view = None
    if "standardizer" in state:
        mean, std = (state["standardizer"][name].to(config.device) for name in ("mean", "std"))
        view = Standardizer(mean, std)
    return SavedOffline(agent, view, config, observation_dim, action_dim)
