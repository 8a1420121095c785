"""What every run is told, online or offline."""

from dataclasses import dataclass

from pbrl.agents.recorded import Updates, check_updates
from pbrl.checks import check_seed
from pbrl.linear import Precision, check_precision
from pbrl.training.threads import check_threads

AT_LEAST_ONE = (
    "steps",
    "eval_every",
    "eval_episodes",
    "score_evaluations",
    "checkpoint_every",
    "log_every",
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run is told; a step is one of the environment online, offline an update.

    Attributes:
        agent: name under which the run is reported.
        preset: name of the table that the numbers come from.
        seed: of everything that is drawn.
        steps: in all; one is a step of the environment, offline an update.
        device: where networks and data live.
        eval_every: steps between evaluations.
        eval_episodes: episodes per evaluation, with deterministic actions.
        score_evaluations: the score is the mean of this many last evaluations.
        checkpoint_every: steps between checkpoints; online, each session writes one too.
        log_every: steps between rows of metrics.
        threads: of torch, on the CPU; None leaves torch's choice, one for each core. Rounding
            depends on it, so a resumed run keeps it.
        precision: of large matrix products. "bfloat16" rounds their factors and results: on
            processors with AVX512-BF16 an update of SAC with networks of 2 x 1024 takes 0.6 times
            the time, with 2 x 256 0.9 times; see docs/speed.md.
        updates: how updates are made. "graph" plays back CUDA graphs, of agents that it can record;
            "compiled" goes through torch.compile, which is slower on a CPU. All come to the same
            numbers within the error of floating point; see docs/speed.md.
        suite: name of the benchmark suite that the run belongs to, or empty.

    Raises:
        ValueError: naming the field, what came and what was expected.
    """

    agent: str
    preset: str = "cpu"
    seed: int = 0
    steps: int
    device: str = "cpu"
    eval_every: int
    eval_episodes: int = 10
    score_evaluations: int = 3
    checkpoint_every: int
    log_every: int
    threads: int | None = None
    precision: Precision = "float32"
    updates: Updates = "eager"
    suite: str = ""

    def __post_init__(self) -> None:
        check_threads(self.threads)
        check_precision(self.precision)
        check_updates(self.updates, self.device)
        check_seed(self.seed)
        for name in AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
