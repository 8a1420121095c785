"""The published label files hold what their papers and readers counted in them."""

import numpy as np
import pytest

from pbrl.offline.labels import read_labels
from pbrl.offline.labels.agreement import agree
from pbrl.offline.labels.origins import origin

PREFERENCE_TRANSFORMER = {  # steps of a segment, then ties, first and second preferred
    "hopper-medium-replay-v2": (100, 191, 121, 188),
    "hopper-medium-expert-v2": (100, 28, 32, 40),
    "walker2d-medium-replay-v2": (100, 117, 164, 219),
    "walker2d-medium-expert-v2": (100, 24, 30, 46),
    "antmaze-medium-play-v2": (100, 488, 243, 269),
    "antmaze-medium-diverse-v2": (100, 288, 342, 370),
    "antmaze-large-play-v2": (100, 637, 200, 163),
    "antmaze-large-diverse-v2": (100, 266, 358, 376),
    "pen-human-v1": (100, 35, 38, 27),
    "pen-cloned-v1": (100, 40, 21, 39),
    "hammer-human-v1": (100, 31, 38, 31),
    "hammer-cloned-v1": (100, 39, 22, 39),
    "Lift_ph": (50, 55, 35, 10),
    "Can_ph": (50, 34, 24, 42),
    "Square_ph": (50, 28, 41, 31),
    "Lift_mh": (100, 194, 188, 118),
    "Can_mh": (100, 156, 167, 177),
    "Square_mh": (100, 95, 168, 237),
}
DPPO = {
    name: counts
    for name, counts in PREFERENCE_TRANSFORMER.items()
} | {
    "halfcheetah-medium-replay-v2": (100, 77, 186, 237),
    "halfcheetah-medium-expert-v2": (100, 10, 35, 55),
    "kitchen-complete-v0": (100, 40, 25, 35),
    "kitchen-mixed-v0": (100, 24, 37, 39),
    "kitchen-partial-v0": (100, 22, 46, 32),
}  # fmt: skip
# Ties of the crowd and of the script, pairs that both decided, share in which they agree.
CROWD_AND_SCRIPT = {
    "halfcheetah-medium-v2": (41, 131, 1830, 0.597),
    "halfcheetah-medium-replay-v2": (193, 68, 1753, 0.785),
    "halfcheetah-medium-expert-v2": (159, 75, 1778, 0.785),
    "hopper-medium-v2": (232, 145, 1652, 0.435),
    "hopper-medium-replay-v2": (292, 92, 1647, 0.646),
    "hopper-medium-expert-v2": (197, 162, 1669, 0.686),
    "walker2d-medium-v2": (241, 123, 1663, 0.663),
    "walker2d-medium-replay-v2": (175, 49, 1784, 0.622),
    "walker2d-medium-expert-v2": (245, 178, 1682, 0.860),
    "door-human-v1": (152, 0, 1848, 0.836),
    "door-cloned-v1": (225, 1, 1775, 0.850),
    "hammer-human-v1": (336, 0, 1664, 0.920),
    "hammer-cloned-v1": (421, 0, 1579, 0.914),
    "pen-human-v1": (317, 1, 1683, 0.521),
    "pen-cloned-v1": (500, 0, 1500, 0.500),
    "antmaze-medium-play-v2": (374, 1813, 178, 0.955),
    "antmaze-medium-diverse-v2": (254, 1880, 96, 0.688),
    "antmaze-large-play-v2": (398, 1799, 193, 1.000),
    "antmaze-large-diverse-v2": (300, 1823, 134, 0.866),
}
DIFFERENT_PAIRS = {"antmaze-umaze-v2": (1329, 1308), "antmaze-umaze-diverse-v2": (1985, 1992)}
CROWD_ALONE = {
    "boxing-medium-v0": (40, 216), "breakout-medium-v0": (40, 929), "enduro-medium-v0": (40, 166),
    "pong-medium-v0": (40, 922), "qbert-medium-v0": (40, 259), "cruise": (50, 264),
    "cutin": (50, 384), "left_c": (50, 631),
}  # fmt: skip
CROWD = "human_labels/clean_offline_rlhf/crowdsource_human_labels/{}_human_labels"
SCRIPT = "human_labels/clean_offline_rlhf/generated_fake_labels/{}_fake_labels"


def counts(table) -> tuple[int, int, int]:
    return tuple(int((table.labels == value).sum()) for value in (0.5, 0.0, 1.0))


@pytest.mark.parametrize(
    ("source", "task"),
    [
        *(("preference_transformer", task) for task in PREFERENCE_TRANSFORMER),
        *(("dppo", task) for task in DPPO),
    ],
)
def test_counts_of_preference_transformer_and_dppo(data, source, task):
    length, *expected = DPPO[task]
    table = read_labels(data / "human_labels" / source / "human_label" / task)
    assert counts(table) == tuple(expected)
    assert len(table) == sum(expected)
    assert set(table.segments[..., 1].flatten()) == {length}
    assert table.dataset == task
    assert origin(task) is not None


def test_every_folder_is_in_one_of_these_tables(data):
    human = data / "human_labels"
    assert {path.name for path in (human / "dppo/human_label").iterdir()} == set(DPPO)
    assert {path.name for path in (human / "preference_transformer/human_label").iterdir()} == set(
        PREFERENCE_TRANSFORMER
    )
    shared = {*CROWD_AND_SCRIPT, *DIFFERENT_PAIRS}
    crowd = {path.name for path in (data / CROWD).parent.iterdir()}
    script = {path.name for path in (data / SCRIPT).parent.iterdir()}
    assert crowd == {f"{task}_human_labels" for task in (*shared, *CROWD_ALONE)}
    assert script == {f"{task}_fake_labels" for task in shared}
    assert (len(crowd), len(script)) == (29, 21)


def test_the_first_labels_and_starts_of_hopper(data):
    table = read_labels(
        data / "human_labels/preference_transformer/human_label/hopper-medium-expert-v2"
    )
    assert table.labels[:8].tolist() == [0.5, 0, 1, 0.5, 0.5, 1, 1, 1]
    assert table.segments[:4, 0, 0].tolist() == [266814, 520783, 943683, 1955045]
    assert table.segments[:4, 1, 0].tolist() == [1228743, 530551, 1536699, 1069579]


@pytest.mark.parametrize("task", CROWD_AND_SCRIPT)
def test_agreement_of_the_crowd_with_the_script(data, task):
    crowd_ties, script_ties, decided, share = CROWD_AND_SCRIPT[task]
    crowd, script = read_labels(data / CROWD.format(task)), read_labels(data / SCRIPT.format(task))
    assert (len(crowd), len(script)) == (2000, 2000)
    assert (counts(crowd)[0], counts(script)[0]) == (crowd_ties, script_ties)
    found = agree(crowd, script)
    assert (found.common, found.decided) == (2000, decided)
    assert round(found.agreement.value, 3) == share
    # Whichever file comes first, they agree as much.
    assert round(agree(script, crowd).agreement.value, 3) == share


@pytest.mark.parametrize("task", CROWD_AND_SCRIPT)
def test_matching_by_row_would_find_something_else(data, task):
    crowd, script = read_labels(data / CROWD.format(task)), read_labels(data / SCRIPT.format(task))
    assert not np.array_equal(crowd.segments, script.segments)


@pytest.mark.parametrize("task", DIFFERENT_PAIRS)
def test_tasks_whose_pairs_differ_have_no_agreement(data, task):
    crowd, script = read_labels(data / CROWD.format(task)), read_labels(data / SCRIPT.format(task))
    assert (counts(crowd)[0], counts(script)[0]) == DIFFERENT_PAIRS[task]
    assert agree(crowd, script).common == 0


@pytest.mark.parametrize("task", CROWD_ALONE)
def test_counts_of_the_crowd_alone(data, task):
    length, ties = CROWD_ALONE[task]
    table = read_labels(data / CROWD.format(task))
    assert (len(table), counts(table)[0]) == (2000, ties)
    assert set(table.segments[..., 1].flatten()) == {length}
    assert origin(task) is not None


@pytest.mark.parametrize(
    ("name", "human_counts", "script_counts", "decided", "share"),
    [
        ("hopper-medium-expert-v2/num100", (28, 32, 40), (0, 58, 42), 72, 0.43),
        ("walker2d-medium-expert-v2/num100", (24, 30, 46), (0, 50, 50), 76, 0.80),
        ("Lift/num100_q50", (55, 35, 10), (59, 23, 18), 16, 0.56),
        ("Can/num100_q50", (34, 24, 42), (98, 0, 2), 0, None),
    ],
)
def test_pairs_that_people_and_the_script_labelled(
    data, name, human_counts, script_counts, decided, share
):
    human = read_labels(data / "human_pairs" / f"{name}_human_train.npz")
    script = read_labels(data / "human_pairs" / f"{name}_script_train.npz")
    assert (counts(human), counts(script)) == (human_counts, script_counts)
    assert (human.annotators[0], script.annotators[0]) == ("human", "script")
    found = agree(human, script)
    assert (found.common, found.decided) == (100, decided)
    if share is not None:
        assert round(found.agreement.value, 2) == share


def test_pairs_carry_the_labels_of_preference_transformer(data):
    for task, stem in (
        ("hopper-medium-expert-v2", "num100"),
        ("walker2d-medium-expert-v2", "num100"),
    ):
        pairs = read_labels(data / "human_pairs" / task / f"{stem}_human_train.npz")
        rows = read_labels(data / "human_labels/preference_transformer/human_label" / task)
        np.testing.assert_array_equal(pairs.labels, rows.labels)
