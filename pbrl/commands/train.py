"""`pbrl train`: learn online, from preferences or from true reward."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from pbrl.commands.given import given_options
from pbrl.commands.seeds import check_seeds, run_folders
from pbrl.queries.samplers import make_sampler
from pbrl.queries.teachers import Teacher, make_teacher
from pbrl.training.code_presets import Representation
from pbrl.training.config import Control, PreferenceConfig, TrainConfig
from pbrl.training.decode import decode
from pbrl.training.presets import Preset, make_config
from pbrl.training.run_folder import check_same_config, is_run, read_config

RUNS = Path("runs")
STUDIES = Path("studies")
HUMAN = "human"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Learn online from preferences, or from the true reward.

    Every number of the configuration has an option of its own as well: `--steps 50000`,
    `--preferences.schedule.budget 200`, `--sac.discount 0.98`. `--show-options` lists them.

    Attributes:
        env: environment id, such as dmc/walker-walk, metaworld/window-open-v3 or gym/Pendulum-v1.
        agent: sac learns from true reward (the oracle), pebble, qpa and surf from preferences;
            hindsight-prior is pebble, qpa-hindsight-prior qpa, surf-hindsight-prior surf, with a
            prior over steps; ppo learns from true reward and pref-ppo from preferences, in many
            environments at once; drqv2 and taco learn from true reward, and see images.
        representation: let actor and critics see states through TACO's codes (taco), or the learned
            reward (taco-reward).
        preset: sizes that two cores manage, the numbers of the method's own code, or those of the
            one protocol of PPE (NeurIPS 2025).
        teacher: the simulated teacher: oracle, noisy, mistake, skip, myopic or equal. With human
            the people and programs of a study answer, while the run goes on.
        study: name of that study.
        studies: folder of all studies.
        database_url: of a PostgreSQL, if the study is in one.
        sampler: what chooses the queries; by default the method's own.
        control: corrupt the labels, to see whether the method needs them.
        seed: of everything that is drawn.
        seeds: several at once, as one computation: 0:16 for 0 to 15, or 0,3,5. Each has a folder of
            its own, whose name ends in its seed.
        out: folder of the run; by default runs/ENV/AGENT-SEED.
        resume: go on with the run in that folder, with its own configuration; what is given
            otherwise is refused.
        wandb: log to Weights & Biases as well.
        video: write a video of the learned policy at the end; refused at the beginning where the
            environment cannot be drawn.
        show_options: list the options for every number, and stop.
    """

    env: Annotated[str, tyro.conf.Positional]
    agent: Literal[
        "sac",
        "pebble",
        "qpa",
        "surf",
        "hindsight-prior",
        "qpa-hindsight-prior",
        "surf-hindsight-prior",
        "ppo",
        "pref-ppo",
        "drqv2",
        "taco",
    ] = "qpa"
    representation: Representation = "none"
    preset: Preset = "cpu"
    teacher: str = "oracle"
    study: str | None = None
    studies: Path = STUDIES
    database_url: str | None = None
    sampler: str | None = None
    control: Control = "none"
    seed: int = 0
    seeds: str | None = None
    out: Path | None = None
    resume: bool = False
    wandb: bool = False
    video: bool = False
    show_options: bool = False

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        parts = [one for one in (self.representation, self.control) if one != "none"]
        seed = [] if self.seeds else [str(self.seed)]
        return self.out or RUNS / self.env / "-".join([self.agent, *parts, *seed])

    @property
    def folders(self) -> dict[int, Path]:
        """Where the run of each seed goes."""
        return run_folders(self.folder, self.seed, self.seeds)

    def __post_init__(self) -> None:
        check_seeds(self.seeds, self.seed, video=self.video)
        if self.seeds and self.teacher == HUMAN:
            raise ValueError("people teach one seed at a time: give --seed and not --seeds")


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl train` with the words after it.

    Raises:
        ValueError: if the configuration cannot work.
    """
    options, rest = tyro.cli(
        TrainOptions, args=list(arguments), prog="pbrl train", return_unknown_args=True
    )
    config = configure(options, ["--help"] if options.show_options else rest, arguments)
    from pbrl.commands.evaluate import check_video
    from pbrl.commands.report import report_run, report_seeds
    from pbrl.training.run import train, train_seeds

    if options.video:
        check_video(config)
    if options.seeds:
        results = train_seeds(config, options.folders, resume=options.resume, wandb=options.wandb)
        report_seeds(options.folders, results)
        return
    with _people(options, config) as teacher:
        result = train(
            config, options.folder, resume=options.resume, teacher=teacher, wandb=options.wandb
        )
    report_run(options.folder, result, video=options.video)


def configure(
    options: TrainOptions, rest: Sequence[str] = (), words: Sequence[str] = ()
) -> TrainConfig:
    """Return the configuration that the options and the words after them ask for.

    Args:
        options: what has a name of its own.
        rest: the words for numbers of the configuration.
        words: all words that the options were read from.

    Raises:
        ValueError: if a name is unknown or a number impossible, or an option that was given says
            otherwise than the run to resume.
    """
    first = next(iter(options.folders.values()))
    if options.resume and is_run(first):
        stored = decode(TrainConfig, read_config(first), "config.json")
        now = _renamed(stored, options, given_options(options, words))
        check_same_config(first, stored, replace(now, preferences=stored.preferences))
        config = _parse(stored, rest)  # words for numbers refine a named teacher or sampler
        check_same_config(first, config, _parse(now, rest))
        return config
    is_human = _is_human(options)
    config = make_config(
        options.env,
        options.agent,
        preset=options.preset,
        teacher="oracle" if is_human else options.teacher,
        sampler=options.sampler,
        control=options.control,
        representation=options.representation,
        seed=options.seed,
    )
    return _parse(_with_study(config, options.study) if options.study else config, rest)


def _is_human(options: TrainOptions) -> bool:
    """Return whether the people of a study teach."""
    is_human = options.teacher == HUMAN
    if is_human != (options.study is not None):
        raise ValueError(
            "--teacher human and --study NAME go together; `pbrl label study create NAME` makes one"
        )
    return is_human


def _renamed(stored: TrainConfig, options: TrainOptions, given: frozenset[str]) -> TrainConfig:
    """Return the stored configuration with what the options that were given say in its place."""
    changes = {name: getattr(options, name) for name in given & {"env", "preset", "seed"}}
    agent, representation = _parts(stored.agent)
    agent = options.agent if "agent" in given else agent
    representation = options.representation if "representation" in given else representation
    name = agent if representation == "none" else f"{agent}-{representation}"
    preferences = stored.preferences
    if preferences is not None:
        preferences = _retaught(preferences, options, given)
    elif options.control != "none" or options.study is not None:
        raise ValueError(f"{stored.agent} learns from the true reward and asks nobody")
    return replace(stored, **changes, agent=name, preferences=preferences)


def _parts(name: str) -> tuple[str, str]:
    """Return agent and representation of a run's name."""
    for representation in get_args(Representation):
        if name.endswith(f"-{representation}"):
            return name.removesuffix(f"-{representation}"), representation
    return name, "none"


def _retaught(
    stored: PreferenceConfig, options: TrainOptions, given: frozenset[str]
) -> PreferenceConfig:
    """Return the stored preferences with teacher, sampler and control that were given."""
    if given & {"teacher", "study"}:
        teacher = stored.teacher if _is_human(options) else make_teacher(options.teacher).config
        stored = replace(stored, teacher=teacher, study=options.study or "")
    if options.sampler is not None:
        named = make_sampler(options.sampler).config
        choice = {name: getattr(named, name) for name in ("pool", "score", "k_center")}
        stored = replace(stored, sampler=replace(stored.sampler, **choice))
    return replace(stored, control=options.control) if "control" in given else stored


def _with_study(config: TrainConfig, study: str) -> TrainConfig:
    """Let the people of a study answer, on environments whose states can be read and drawn."""
    if config.preferences is None:
        raise ValueError(f"{config.agent} learns from the true reward and asks nobody")
    return replace(
        config,
        preferences=replace(config.preferences, study=study),
        environment=replace(config.environment, backend="official"),
    )


@contextmanager
def _people(options: TrainOptions, config: TrainConfig) -> Iterator[Teacher | None]:
    """Open the study whose people teach, if there is one.

    Raises:
        ImportError: if the extra `label` is not installed.
        ValueError: if there is no such study, or it does not fit the run.
    """
    study = config.preferences.study if config.preferences else ""
    if not study:
        yield None
        return
    try:
        from pbrl.queries.human.places import StudyPlace
        from pbrl.queries.human.teacher import StudyTeacher
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'pbrl[label]'") from None
    place = StudyPlace(name=study, studies=options.studies, database_url=options.database_url)
    database = place.open()
    try:
        is_metaworld = config.env.startswith("metaworld/")
        goal = {"goal_visible": config.environment.goal_visible} if is_metaworld else {}
        yield StudyTeacher(
            database,
            study,
            name=f"{config.agent} on {config.env}, seed {config.seed}",
            env_id=config.env,
            env_options=goal,
        )
    finally:
        database.close()


def _parse(config: TrainConfig, words: Sequence[str]) -> TrainConfig:
    return tyro.cli(
        tyro.conf.AvoidSubcommands[TrainConfig],
        default=config,
        args=list(words),
        prog=f"pbrl train {config.env}",
    )
