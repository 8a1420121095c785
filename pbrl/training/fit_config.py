"""The configuration of an offline run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_type_hints

from pbrl.agents import agent_class
from pbrl.agents.recorded import Updates, check_updates
from pbrl.checks import check_seed
from pbrl.linear import Precision, check_precision
from pbrl.training.config import Control, EnvironmentConfig
from pbrl.training.decode import decode
from pbrl.training.reward_stage import RewardStageConfig
from pbrl.training.threads import check_threads

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
class FitConfig(Generic[MethodT]):
    """One offline run.

    Attributes:
        dataset: of which source, see `pbrl.offline.load.load_dataset`.
        labels: file or folder of labels; None where the dataset holds them or none are needed.
        agent: name of the method, see `pbrl.agents.AGENTS`.
        method: its configuration.
        preset: name of the table that the numbers come from.
        seed: of everything that is drawn.
        steps: updates in all.
        device: where networks and data live.
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
        eval_every: updates between evaluations.
        eval_episodes: episodes per evaluation, with deterministic actions.
        score_evaluations: the score is the mean of this many last evaluations.
        checkpoint_every: updates between checkpoints.
        log_every: updates between rows of metrics.
        threads: of torch, on the CPU; None leaves torch's choice, one for each core. Rounding
            depends on it, so a resumed run keeps it.
        precision: of large matrix products. "bfloat16" rounds their factors and results: on
            processors with AVX512-BF16 an update of SAC with networks of 2 x 1024 takes 0.6 times
            the time, with 2 x 256 0.9 times; see docs/speed.md.
        updates: how updates are made. "graph" plays back CUDA graphs, of agents that it can record;
            "compiled" goes through torch.compile, which is slower on a CPU. All come to the same
            numbers within the error of floating point; see docs/speed.md.
        suite: name of the benchmark suite that the run belongs to, or empty.
    """

    dataset: str
    labels: str | None = None
    agent: str
    method: MethodT
    preset: str = "cpu"
    seed: int = 0
    steps: int = 20_000
    device: str = "cpu"
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
    eval_episodes: int = 10
    score_evaluations: int = 3
    checkpoint_every: int = 5_000
    log_every: int = 200
    threads: int | None = None
    precision: Precision = "float32"
    updates: Updates = "eager"
    suite: str = ""

    def __post_init__(self) -> None:
        check_threads(self.threads)
        check_precision(self.precision)
        check_updates(self.updates, self.device)
        for name in (
            "steps",
            "eval_every",
            "eval_episodes",
            "score_evaluations",
            "checkpoint_every",
            "log_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_seed(self.seed)
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
