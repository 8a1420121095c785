"""SURF (Park et al. 2022): PEBBLE that also learns from cropped pairs and from unlabelled ones."""

from collections.abc import Mapping
from dataclasses import replace

from pbrl.crops import CropConfig
from pbrl.pseudo_labels import PseudoLabelConfig
from pbrl.training.config import TrainConfig
from pbrl.training.preset_numbers import TaskNumbers, task_row

# The two scripts of its code; Meta-World's task is v2 there.
SURF_PAPER: Mapping[str, TaskNumbers] = {
    "dmc/walker-walk": task_row(5e5, 20_000, 100, 10, 5e-4),
    "metaworld/hammer-v3": task_row(2e6, 5_000, 10_000, 50, 3e-4),
}
STEPS_PER_LABEL = {"dmc": 1_000.0, "metaworld": 20.0}
POOL_RATIO = {"dmc": 100, "metaworld": 10}
LONGER = 1.2  # windows of 60 steps where PEBBLE's have 50
SHORTEST, LONGEST = 0.1, 0.3  # cuts, as shares of PEBBLE's segment: 5 to 15 of 50 steps


def with_surf(config: TrainConfig, source: str) -> TrainConfig:
    """Return PEBBLE's run as SURF's.

    The windows that its code crops are longer than what its teacher sees, which is their middle;
    here the teacher sees them whole. The cpu preset keeps its own effort, and draws from as few
    pairs per label as SURF on Meta-World.

    Args:
        config: of PEBBLE.
        source: whose numbers count, "dmc" or "metaworld".
    """
    preferences = config.preferences
    assert preferences is not None  # PEBBLE asks
    length = preferences.sampler.segment_length
    is_small = config.preset == "cpu"
    learning = replace(
        preferences.learning,
        crops=CropConfig(
            num_crops=1, min_cut=round(SHORTEST * length), max_cut=round(LONGEST * length)
        ),
        pseudo_labels=PseudoLabelConfig(pool_ratio=POOL_RATIO["metaworld" if is_small else source]),
    )
    if not is_small:
        learning = replace(learning, steps_per_label=STEPS_PER_LABEL[source], target_accuracy=1.0)
    sampler = replace(preferences.sampler, segment_length=round(LONGER * length))
    preferences = replace(preferences, sampler=sampler, learning=learning)
    return replace(config, agent="surf", preferences=preferences)
