"""The configuration of an offline run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_type_hints

from pbrl.agents import agent_class
from pbrl.training.config import Control, EnvironmentConfig
from pbrl.training.decode import decode
from pbrl.training.reward_stage import RewardStageConfig
from pbrl.training.run_config import RunConfig

MethodT = TypeVar("MethodT")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How a dataset and its labels are read.

    Attributes:
        env: environment to evaluate in; None takes what the dataset says, which may be none.
        goal_visible: option of that environment; None takes what the dataset says.
        name: of the dataset, where its file is not called by it: reference scores go by it.
        max_episode_steps: time limit, for D4RL files without `timeouts` and of no known name.
        observation_keys: for Robomimic, what is concatenated to an observation.
        score: which score to read from a CPL file; the regret rl_sum by default.
        download: for Minari, whether to fetch a dataset that is not there.
    """

    env: str | None = None
    goal_visible: bool | None = None
    name: str | None = None
    max_episode_steps: int | None = None
    observation_keys: tuple[str, ...] | None = None
    score: str | None = None
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class FitConfig(RunConfig, Generic[MethodT]):
    """One offline run.

    Attributes:
        dataset: of which source, see `pbrl.offline.load.load_dataset`.
        labels: file or folder of labels; None where the dataset holds them or none are needed.
        agent: name of the method, see `pbrl.agents.AGENTS`.
        method: its configuration.
        data: how dataset and labels are read.
        reward: where the rewards of transitions come from; None for methods that need none.
        best_share: share of the episodes, the best by true return, that transitions are drawn from:
            %BC. In (0, 1].
        normalize_observations: standardise what the agent sees by the moments of the dataset.
        held_out_share: share of the labels that nobody learns from, in [0, 1).
        control: "shuffled-labels" and "flipped-labels" corrupt the labels that are learned from:
            what learns all the same did not learn from them.
        environment: kind of environments to evaluate in; `num_envs` is not used, as all episodes of
            an evaluation run at once.
    """

    dataset: str
    labels: str | None = None
    method: MethodT
    steps: int = 20_000
    data: DataConfig = field(default_factory=DataConfig)
    reward: RewardStageConfig | None = None
    best_share: float = 1.0
    normalize_observations: bool = False
    held_out_share: float = 0.0
    control: Control = "none"
    environment: EnvironmentConfig = field(
        default_factory=lambda: EnvironmentConfig(backend="official")
    )
    eval_every: int = 2_000
    checkpoint_every: int = 5_000
    log_every: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.best_share <= 1:
            raise ValueError(f"best_share must lie in (0, 1], got {self.best_share}")
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share must lie in [0, 1), got {self.held_out_share}")

    @property
    def env(self) -> str | None:
        """Environment to evaluate in."""
        return self.data.env


def method_config_class(agent: str) -> type[Any]:
    """Return the class of an agent's configuration: what its constructor takes first.

    Raises:
        ValueError: if there is no such agent.
    """
    kind: type[Any] = get_type_hints(agent_class(agent).__init__)["config"]
    return kind


def decode_fit_config(plain: Mapping[str, Any]) -> FitConfig[Any]:
    """Build the configuration from the mapping that `pbrl.training.files.plain` made of it.

    Raises:
        ValueError: if a field is unknown or lacks, or its value has the wrong type, naming it.
    """
    lacking = [name for name in ("agent", "method") if name not in plain]
    if lacking:
        raise ValueError(f"config.json lacks the field {lacking[0]!r}")
    kind = method_config_class(plain["agent"])
    method = decode(kind, plain["method"], "config.json.method")
    return decode(FitConfig, {**plain, "method": method}, "config.json")
