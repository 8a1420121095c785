"""Which steps of an episode a learned reward pays, and which its prior holds important."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from torch import Tensor

from pbrl.envs import RenderingUnavailable
from pbrl.randomness import Generators
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import Segments
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.evaluation import Policy, begin_episodes
from pbrl.training.fit_config import decode_fit_config
from pbrl.training.offline import PURPOSES
from pbrl.training.run_folder import CHECKPOINTS, read_config
from pbrl.training.saved import OFFLINE_KEY
from pbrl.training.video import Frame

_MOST_FRAMES = 8
_WIDTH, _HEIGHT = 8.0, 4.6  # inches


@dataclass(frozen=True)
class Episode:
    """The beginning of an episode.

    Attributes:
        segment: its steps as one segment, `[1, time, ...]`.
        frames: what each step began with; empty where nothing can be rendered.
    """

    segment: Segments
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Credit:
    """What a learned reward makes of one segment.

    Attributes:
        rewards: of each step, the mean over the members.
        true_rewards: of the environment.
        importance: share of each step by the prior; None without one.
    """

    rewards: Float[Tensor, " time"]
    true_rewards: Float[Tensor, " time"]
    importance: Float[Tensor, " time"] | None


def load_learner(folder: Path, dimensions: tuple[int, int]) -> RewardLearner:
    """Return the reward of a run, online or offline, as its newest checkpoint has it.

    Args:
        folder: of the run.
        dimensions: sizes of an observation and of an action.

    Raises:
        FileNotFoundError: if the folder holds no run or no checkpoint.
        ValueError: if the run learns no reward, or one that is not an ensemble.
    """
    state = load_checkpoint(folder / CHECKPOINTS, None)[0]["loop"]
    networks, learning, saved, device = _parts(folder, state)
    if saved is None or "ensemble" not in saved:
        raise ValueError(f"the run {folder} learns no reward with an ensemble")
    generator = Generators(0, PURPOSES, device)["initial"]
    ensemble = RewardEnsemble(networks, *dimensions, generator=generator)
    learner = RewardLearner(learning, ensemble, generator)
    learner.load_state_dict(saved)
    return learner


def _parts(
    folder: Path, state: dict[str, Any]
) -> tuple[RewardConfig, RewardLearningConfig, dict[str, Any] | None, str]:
    """Return the configuration of a run's reward, its state if there is one, and its device."""
    config = read_config(folder)
    if OFFLINE_KEY in config:
        fitted = decode_fit_config(config)
        stage = fitted.reward
        if stage is None:
            return RewardConfig(), RewardLearningConfig(), None, fitted.device
        return stage.network, stage.learning, state.get("stage", {}).get("model"), fitted.device
    trained = decode(TrainConfig, config, "config.json")
    preferences = trained.preferences
    if preferences is None:
        return RewardConfig(), RewardLearningConfig(), None, trained.device
    return preferences.reward, preferences.learning, state["source"]["learner"], trained.device


@torch.no_grad()
def credit_of(learner: RewardLearner, segment: Segments) -> Credit:
    """Return what a learned reward makes of one segment, `[1, time, ...]`.

    Raises:
        ValueError: if the segment is longer than the prior's world model can see.
    """
    rewards = learner.ensemble.mean_reward(segment.observations, segment.actions)[0]
    importance = None
    if learner.hindsight is not None:
        importance = learner.hindsight.importance_of(segment)[0]
    return Credit(rewards, segment.true_rewards[0], importance)


def play(
    act: Policy, env: VectorEnv[Any, Any, Any], length: int, *, start: int = 0, seed: int = 0
) -> Episode:
    """Play the first sub-environment and return `length` steps of its first episode.

    Args:
        act: the policy.
        env: of `pbrl.envs.make`; it is reset first.
        length: steps, at least 1; fewer if the episode ends.
        start: steps to leave out before.
        seed: of the environment.

    Raises:
        ValueError: if the episode ends before `start`.
    """
    observations, _ = env.reset(seed=seed)
    begin_episodes(act, np.ones(env.num_envs, np.bool_))
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    frames: list[Frame] = []
    for step in range(start + length):
        seen = torch.as_tensor(observations)
        with torch.no_grad():
            actions = act(seen)
        frame = _frame(env) if step >= start else None
        given = actions.cpu().numpy() if isinstance(observations, np.ndarray) else actions
        observations, reward, terminated, truncated, _ = env.step(given)
        if step >= start:
            rows.append((seen[0].float(), actions[0].float(), torch.as_tensor(reward)[0].float()))
            frames += [] if frame is None else [frame]
        if bool(terminated[0] | truncated[0]):
            break
    if not rows:
        raise ValueError(f"the episode ends before step {start}, where the segment was to begin")
    seen_all, actions_all, rewards = (torch.stack(part)[None] for part in zip(*rows, strict=True))
    mask = torch.ones(rewards.shape, dtype=torch.bool, device=rewards.device)
    return Episode(Segments(seen_all, actions_all, mask, rewards), tuple(frames))


def _frame(env: VectorEnv[Any, Any, Any]) -> UInt8[np.ndarray, "height width 3"] | None:
    try:
        frames = env.render()
    except (RenderingUnavailable, NotImplementedError):
        return None
    return None if frames is None else np.asarray(frames[0], dtype=np.uint8)


def credit_figure(credit: Credit, frames: tuple[Frame, ...] = (), *, start: int = 0) -> Figure:
    """Return a figure: frames of a segment, and below them what each step is worth along time.

    Rewards are standardised over the segment, as a learned one has a unit of its own. The dotted
    line is the importance that all steps would have alike.

    Args:
        credit: what to draw.
        frames: one per step, of which up to eight are shown; none where nothing was rendered.
        start: step of the episode at which the segment begins.
    """
    time = np.arange(start, start + len(credit.rewards))
    rows = 1 if credit.importance is None else 2
    with matplotlib.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        shares = [1, rows] if frames else [rows]
        parts = figure.subfigures(len(shares), 1, squeeze=False, height_ratios=shares)[:, 0]
        if frames:
            _draw_frames(parts[0], frames, start)
        panels = parts[-1].subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        axes = panels[0]
        axes.plot(time, _standardized(credit.rewards), color="#0072B2", label="predicted")
        axes.plot(time, _standardized(credit.true_rewards), color="#D55E00", ls="--", label="true")
        axes.set_ylabel("reward, standardised")
        axes.legend(frameon=False, ncols=2)
        if credit.importance is not None:
            axes = panels[1]
            axes.bar(time, credit.importance.cpu().numpy(), color="#009E73", width=1.0)
            axes.axhline(1 / len(time), color="0.3", ls=":")
            axes.set_ylabel("importance")
        axes.set_xlabel("step of the episode")
    return figure


def _draw_frames(part: Any, frames: tuple[Frame, ...], start: int) -> None:
    shown = np.unique(np.linspace(0, len(frames) - 1, _MOST_FRAMES).round().astype(int))
    panels = part.subplots(1, len(shown), squeeze=False)[0]
    for panel, place in zip(panels, shown, strict=True):
        panel.imshow(frames[place])
        panel.set_title(str(start + place))
        panel.set_axis_off()


def _standardized(values: Float[Tensor, " time"]) -> Float[np.ndarray, " time"]:
    centred = values - values.mean()
    spread = centred.square().mean().sqrt()
    scaled: np.ndarray = (centred / spread if spread > 0 else centred).cpu().numpy()
    return scaled
