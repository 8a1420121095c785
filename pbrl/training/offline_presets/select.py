"""From the name of a preset to the configuration of a run."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from pbrl.agents.cpl_variants import VARIANTS
from pbrl.lookup import look_up
from pbrl.training.config import Control
from pbrl.training.fit_config import FitConfig
from pbrl.training.offline_presets import cpl, cpu, hindsight, images, ipl, reward_models, sequences
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe
from pbrl.training.threads import SMALL

OfflinePreset = Literal[
    "cpu", "paper", "cpl", "ipl", "pt", "uni-rlhf", "oppo", "dtr", "dppo", "wiserl"
]
PRESETS: tuple[OfflinePreset, ...] = get_args(OfflinePreset)
_RECIPES: Mapping[str, Callable[[str, Facts], Recipe]] = {
    "cpu": cpu.recipe,
    "cpl": cpl.recipe,
    "ipl": ipl.recipe,
    "pt": reward_models.pt,
    "uni-rlhf": reward_models.uni_rlhf,
    "oppo": sequences.oppo,
    "dtr": sequences.dtr,
    "dppo": sequences.dppo,
    "wiserl": hindsight.wiserl,
}
# The paper that each method is taken from.
_HOME: Mapping[str, OfflinePreset] = {
    "bc": "cpl",
    "%bc": "cpl",
    "sft": "cpl",
    "p-iql-joint": "cpl",
    **dict.fromkeys(VARIANTS, "cpl"),
    "ipl": "ipl",
    "iql": "pt",
    "p-iql": "pt",
    "preference-transformer": "pt",
    "pearl": "pt",  # which has none for it: PEARL's own are not known here
    "oppo": "oppo",
    **dict.fromkeys(sequences.DTR_AGENTS, "dtr"),
    "dppo": "dppo",
    "hindsight-prior": "wiserl",
    **dict.fromkeys(images.AGENTS, "cpu"),  # there are no numbers of a paper
}
HELD_OUT_WITHOUT_ENVIRONMENT = 0.1


def make_fit_config(  # noqa: PLR0913  keyword-only
    dataset: str,
    agent: str,
    facts: Facts,
    *,
    labels: str | None = None,
    preset: OfflinePreset = "cpu",
    control: Control = "none",
    seed: int = 0,
) -> FitConfig[Any]:
    """Return the configuration of an agent on a dataset.

    Args:
        dataset: where it is, see `pbrl.offline.load.load_dataset`.
        agent: name of the method.
        facts: what is known of the data.
        labels: file or folder of labels.
        preset: see the package.
        control: corrupts the labels.
        seed: of everything that is drawn.

    Raises:
        ValueError: if a name is unknown, or the preset has no numbers for the method on such data.
    """
    home = look_up("offline agent", agent, _HOME)
    if preset == "paper" and home == "cpu":
        raise ValueError(f"no paper's numbers are known for {agent}; take --preset cpu")
    paper = home if preset == "paper" else preset
    try:
        recipe = look_up("preset", paper, _RECIPES)(agent, facts)
    except NoNumbersError as error:
        raise ValueError(
            f"the preset {preset!r} has no numbers for {agent} on {facts.info.name}, {error}; take "
            "--preset cpu and set the numbers you want"
        ) from error
    has_environment = facts.info.env is not None
    can_hold_out = facts.num_labels > 0 and not has_environment
    return FitConfig(
        dataset=dataset,
        labels=labels,
        agent=agent,
        method=recipe.method,
        preset=preset,
        threads=SMALL if preset == "cpu" else None,
        seed=seed,
        steps=recipe.steps,
        reward=recipe.reward,
        best_share=recipe.best_share,
        normalize_observations=recipe.normalize_observations,
        environment=recipe.environment,
        held_out_share=HELD_OUT_WITHOUT_ENVIRONMENT if can_hold_out else 0.0,
        control=control,
        eval_every=recipe.eval_every,
        eval_episodes=recipe.eval_episodes,
    )
