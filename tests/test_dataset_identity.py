import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from pbrl.dataset_identity import DatasetIdentity, check_same_dataset, identify
from pbrl.replay import ReplayBuffer

LENGTHS = (3, 2, 4)


def make_replay(lengths=LENGTHS, *, scale=1.0, observation_dim=2, action=0.0, reward=0.0):
    """Episodes whose steps are numbered; `action` and `reward` change those of the last step."""
    number = sum(lengths)
    actions = torch.arange(number, dtype=torch.float32)[:, None] / 100
    rewards = torch.arange(number, dtype=torch.float32)
    actions[-1] += action
    rewards[-1] += reward
    return ReplayBuffer.from_episodes(
        observations=scale * torch.ones(number, observation_dim),
        actions=actions,
        true_rewards=rewards,
        last_observations=torch.zeros(len(lengths), observation_dim),
        lengths=torch.tensor(lengths),
        terminated=torch.zeros(len(lengths), dtype=torch.bool),
    )


def test_the_checksum_is_of_lengths_actions_and_rewards():
    steps = np.arange(9, dtype="<f4")
    content = np.array(LENGTHS, "<i8").tobytes() + (steps / 100).tobytes() + steps.tobytes()
    identity = identify("mine", make_replay())
    assert identity == DatasetIdentity(
        name="mine", checksum=hashlib.sha256(content).hexdigest(), num_episodes=3
    )


def test_other_observations_are_the_same_dataset_and_other_steps_are_not():
    checksum = identify("mine", make_replay()).checksum
    same = make_replay(scale=2.0, observation_dim=5)  # as read with other keys
    assert identify("yours", same).checksum == checksum
    relabelled = make_replay()
    relabelled.relabel(lambda observations, _: observations[:, 0])
    assert identify("mine", relabelled).checksum == checksum
    for other in (
        make_replay((3, 4, 2)),
        make_replay(action=0.01),
        make_replay(reward=1.0),
        make_replay((3, 2)),
    ):
        assert identify("mine", other).checksum != checksum


def test_a_dataset_with_episodes_added_is_the_same_and_one_with_fewer_is_not():
    identity = identify("mine", make_replay())
    check_same_dataset(identity, "mine, longer", make_replay((*LENGTHS, 5)), "")
    with pytest.raises(ValueError, match="of another dataset") as error:
        check_same_dataset(identity, "short", make_replay(LENGTHS[:2]), "Do this.")
    text = str(error.value)
    assert f"they are of mine (3 episodes, checksum {identity.checksum[:12]}...)" in text
    assert "this is short (2 episodes, checksum " in text
    assert text.endswith("Give the dataset that was labelled. Do this.")


def test_what_a_file_says_is_checked():
    identity = identify("mine", make_replay())
    assert DatasetIdentity.from_plain(identity.plain()) == identity
    for plain, message in (
        (None, "is told by name, checksum, num_episodes, got None"),
        ({"name": "mine"}, "is told by name"),
        (identity.plain() | {"name": 3}, "name of a dataset must be str, got 3"),
        (identity.plain() | {"checksum": "ab"}, "64 hexadecimal digits, got 'ab'"),
        (identity.plain() | {"checksum": ["a"] * 64}, "checksum of a dataset must be str"),
        (identity.plain() | {"num_episodes": True}, "num_episodes of a dataset must be int"),
        (identity.plain() | {"num_episodes": 0}, "num_episodes must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            DatasetIdentity.from_plain(plain)
    with pytest.raises(ValueError, match="num_episodes must lie in 1 to 3, got 4"):
        identify("mine", make_replay(), 4)
    assert replace(identity, name="yours") != identity
