"""The policy of a run, online or offline, out of its newest checkpoint."""

from pathlib import Path
from typing import Any

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


def load_policy(folder: Path) -> tuple[Policy, TrainConfig | FitConfig[Any]]:
    """Return the deterministic policy of the newest checkpoint of a run, and its configuration.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
        ValueError: if its configuration cannot be read.
    """
    stored = read_config(folder)
    if "method" not in stored:
        return run.load_policy(folder)
    config = decode_fit_config(stored)
    state = load_checkpoint(folder / CHECKPOINTS, None)[0]["loop"]
    generators = Generators(config.seed, PURPOSES, config.device)
    agent = build_offline_agent(config, state["observation_dim"], state["action_dim"], generators)
    agent.load_state_dict(state["agent"])
    if "standardizer" not in state:
        return lambda observations: agent.act(observations, deterministic=True), config
    mean, std = (state["standardizer"][name].to(config.device) for name in ("mean", "std"))
    view = Standardizer(mean, std)
    return lambda observations: agent.act(view(observations), deterministic=True), config
