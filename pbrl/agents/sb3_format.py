"""Policies into and out of stable-baselines3's SAC, where the networks are the same.

Both have ReLU perceptrons of equal widths for the actor and two critics, and both policies act in
[-1, 1] (stable-baselines3 then scales actions to the bounds of its action space). Parameters and
temperature are carried over; the optimisers' moments are not. A file from outside is read without
unpickling: its JSON as text, its tensors by torch's restricted loader.
"""

import io
import json
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import gymnasium
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.save_util import data_to_json
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from pbrl.agents.sac import SAC, SACConfig
from pbrl.networks import EnsembleLinear

LOG_STD_BOUNDS = (-20.0, 2.0)  # stable_baselines3.sac.policies: LOG_STD_MIN, LOG_STD_MAX
FIELDS = (
    "use_sde",
    "observation_space",
    "policy_kwargs",
    "gamma",
    "tau",
    "target_update_interval",
    "target_entropy",
    "learning_rate",
    "ent_coef",
)
LEARNING_RATES = ("actor_lr", "critic_lr", "temperature_lr")
FIRST_WEIGHT = "actor.latent_pi.0.weight"
Spaces = tuple[spaces.Space[Any], spaces.Space[Any]]


def to_sb3(
    agent: SAC, env: gymnasium.Env[Any, Any] | VecEnv | Spaces, **settings: Any
) -> stable_baselines3.SAC:
    """Return a model of stable-baselines3 with the agent's networks and temperature.

    Its single learning rate is the actor's.

    Args:
        agent: trained with `log_std_mode="clamp"` and `log_std_bounds=(-20.0, 2.0)`.
        env: an environment, or its observation and action space when the model shall only predict.
        settings: further arguments of `stable_baselines3.SAC`, such as `buffer_size`.

    Raises:
        ValueError: if the agent bounds its standard deviation otherwise, standardises or encodes
            its observations, or the spaces do not fit.
    """
    config = agent.config
    if config.normalize_observations:
        raise ValueError(
            "policies of stable-baselines3 standardise no observations; train the agent with "
            "SACConfig(normalize_observations=False)"
        )
    if config.codes is not None:
        raise ValueError(
            "policies of stable-baselines3 see states as they are; train the agent with "
            "SACConfig(codes=None)"
        )
    if (config.log_std_mode, config.log_std_bounds) != ("clamp", LOG_STD_BOUNDS):
        raise ValueError(
            f"stable-baselines3 clamps the log standard deviation to {LOG_STD_BOUNDS}, this agent "
            f"has log_std_mode={config.log_std_mode!r} and log_std_bounds={config.log_std_bounds}; "
            f'train it with SACConfig(log_std_mode="clamp", log_std_bounds={LOG_STD_BOUNDS})'
        )
    env = _SpacesOnly(*env) if isinstance(env, tuple) else env
    _check_spaces(agent, env.observation_space, env.action_space)
    initial = math.exp(agent.log_temperature.item())
    policy_kwargs = {
        "net_arch": list(config.hidden_sizes),
        "optimizer_kwargs": {"betas": config.betas},
    }
    defaults = {
        "learning_rate": config.actor_lr,
        "gamma": config.discount,
        "tau": config.target_rate,
        "target_update_interval": config.target_update_every,
        "target_entropy": agent.target_entropy,
        "ent_coef": f"auto_{initial}" if config.temperature_lr > 0 else initial,
        "policy_kwargs": policy_kwargs,
        "device": agent.device,
    }
    model = stable_baselines3.SAC("MlpPolicy", env, **(defaults | settings))
    model.policy.load_state_dict(_policy_state(agent))
    return model


def from_sb3(
    source: str | Path | stable_baselines3.SAC,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    **changes: Any,
) -> SAC:
    """Return an agent with the networks and temperature of a stable-baselines3 model.

    The model's observations, normalised by a `VecNormalize` if it was trained with one, are the
    agent's; actions are those in [-1, 1] before stable-baselines3 scales them.

    Args:
        source: a model, or a zip file that one was saved to.
        generator: of the new agent, on `device`.
        device: where the agent lives.
        changes: fields of `SACConfig` to set otherwise than the model.

    Raises:
        ValueError: if the source is no such file, or its policy is not a pair of ReLU perceptrons
            with two critics of the same widths: gSDE, images, own extractors or policies.
    """
    data, policy, variables = (
        _read_model(source) if isinstance(source, stable_baselines3.SAC) else _read_zip(source)
    )
    _check_policy(data, policy)
    widths = [len(tensor) for name, tensor in policy.items() if _is_hidden_weight(name)]
    settings = _settings(data) | {"hidden_sizes": tuple(widths)} | changes
    if not settings.keys() >= set(LEARNING_RATES):
        raise ValueError(f"learning_rate is no number; give {LEARNING_RATES} of SACConfig")
    config = SACConfig(**settings)
    inputs = policy[FIRST_WEIGHT].shape[1]
    action_dim = len(policy["actor.mu.bias"])
    agent = SAC(config, inputs, action_dim, device=device, generator=generator)
    _load_policy(agent, policy)
    agent.log_temperature.data.fill_(_log_temperature(variables))
    return agent


class _SpacesOnly(gymnasium.Env[Any, Any]):
    """Stands for an environment until the model is given one with `set_env`."""

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, **_: Any) -> Any:
        raise RuntimeError("this model was made from spaces alone; give it an environment: set_env")


def _check_spaces(
    agent: SAC, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> None:
    for name, space, size in (
        ("observation", observation_space, agent.observation_dim),
        ("action", action_space, agent.action_dim),
    ):
        if not isinstance(space, spaces.Box) or math.prod(space.shape) != size:
            raise ValueError(f"the {name} space must be a Box of {size} numbers, got {space}")


def _policy_state(agent: SAC) -> dict[str, Tensor]:
    """Return views of the agent's parameters under the names of stable-baselines3."""
    *hidden, last = (layer for layer in agent.actor.layers if isinstance(layer, nn.Linear))
    state = {}
    for depth, layer in enumerate(hidden):
        state[f"actor.latent_pi.{2 * depth}.weight"] = layer.weight.detach()
        state[f"actor.latent_pi.{2 * depth}.bias"] = layer.bias.detach()
    for kind in ("weight", "bias"):
        halves = getattr(last, kind).detach().chunk(2)
        state[f"actor.mu.{kind}"], state[f"actor.log_std.{kind}"] = halves
    for name, critic in (("critic", agent.critic), ("critic_target", agent.target_critic)):
        batched = (layer for layer in critic.layers if isinstance(layer, EnsembleLinear))
        for depth, twins in enumerate(batched):
            for member in range(2):
                key = f"{name}.qf{member}.{2 * depth}"
                state[f"{key}.weight"] = twins.weight.detach()[member].T
                state[f"{key}.bias"] = twins.bias.detach()[member, 0]
    return state


def _load_policy(agent: SAC, policy: dict[str, Tensor]) -> None:
    """Copy parameters under the names of stable-baselines3 into the agent."""
    own = _policy_state(agent)
    shapes, expected = (
        {name: tuple(tensor.shape) for name, tensor in state.items()} for state in (policy, own)
    )
    if shapes != expected:
        odd = sorted(dict(set(shapes.items()) ^ set(expected.items())))
        raise ValueError(f"the policy is not two critics and an actor of equal widths: see {odd}")
    for name, tensor in own.items():
        tensor.copy_(policy[name])


def _is_hidden_weight(name: str) -> bool:
    return name.startswith("actor.latent_pi.") and name.endswith(".weight")


def _read_model(
    model: stable_baselines3.SAC,
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Return what saving the model would write, read as `_read_zip` does."""
    data = json.loads(data_to_json({name: getattr(model, name) for name in FIELDS}))
    learned = model.log_ent_coef
    variables = (
        {"ent_coef_tensor": model.ent_coef_tensor} if learned is None else {"log_ent_coef": learned}
    )
    return data, model.policy.state_dict(), variables


def _read_zip(
    path: str | Path,
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    """Return the JSON, in which pickled members stay text, and the tensors of a saved model."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            policy, variables = (
                torch.load(io.BytesIO(archive.read(name)), "cpu", weights_only=True)
                for name in ("policy.pth", "pytorch_variables.pth")
            )
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a zip file of stable-baselines3") from error
    except KeyError as error:
        raise ValueError(f"{path} is not a model of stable-baselines3: {error}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors and is not loaded: {error}") from error
    return data, policy, variables


def _check_policy(data: dict[str, Any], policy: dict[str, Tensor]) -> None:
    """Refuse what a tanh-Gaussian ReLU perceptron on flat observations cannot represent."""
    if data.get("use_sde"):
        raise ValueError("the model uses gSDE (use_sde=True), which this agent does not have")
    if any("features_extractor" in name for name in policy):
        raise ValueError("the policy has a learned features extractor (a CNN?), not flat inputs")
    missing = [name for name in FIELDS if name not in data]
    missing += [name for name in (FIRST_WEIGHT, "actor.mu.bias") if name not in policy]
    if missing:
        raise ValueError(f"not a SAC model with hidden layers: it lacks {missing}")
    space = data["observation_space"]
    kind, dtype = str(space.get(":type:")), str(space.get("dtype"))
    if "box.Box" not in kind or not dtype.startswith("float"):
        raise ValueError(f"the observation space must be a Box of floats, got {kind} of {dtype}")
    activation = str((data["policy_kwargs"] or {}).get("activation_fn", "ReLU"))
    if "ReLU" not in activation or "LeakyReLU" in activation:
        raise ValueError(f"the activation must be ReLU, got {activation}")


def _settings(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration that the model's JSON tells."""
    settings = {
        "discount": data["gamma"],
        "target_rate": data["tau"],
        "target_update_every": data["target_update_interval"],
        "target_entropy": data["target_entropy"],
        "log_std_mode": "clamp",
        "log_std_bounds": LOG_STD_BOUNDS,
        "initialization": "torch",
    }
    optimizer = (data["policy_kwargs"] or {}).get("optimizer_kwargs") or {}
    if "betas" in optimizer:
        settings["betas"] = tuple(optimizer["betas"])
    rate, weight = data["learning_rate"], data["ent_coef"]
    if isinstance(rate, int | float):
        settings |= dict.fromkeys(LEARNING_RATES, rate)
    if isinstance(weight, str):
        settings["initial_temperature"] = float(weight.removeprefix("auto").lstrip("_") or 1.0)
    else:
        settings |= {"initial_temperature": weight, "temperature_lr": 0.0}
    return settings


def _log_temperature(variables: dict[str, Tensor]) -> float:
    if "log_ent_coef" in variables:
        return variables["log_ent_coef"].item()
    return cast(float, variables["ent_coef_tensor"].log().item())
