"""Stacks of frames and transitions of several steps, against episodes kept as lists."""

import copy

import pytest
import torch

from pbrl.batches import BatchSteps, MultiStepBatch
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

FRAME, FRAMES = 4, 3


class Recorder:
    """Feeds a replay and keeps every episode whole: frame `n` of a run holds the number n."""

    def __init__(self, capacity, num_envs, dtype=torch.uint8):
        self.replay = ReplayBuffer(
            capacity, FRAME * FRAMES, 2, num_envs=num_envs, observation_dtype=dtype,
            num_frames=FRAMES,
        )  # fmt: skip
        self.dtype = dtype
        self.count = 0
        self.frames = [[self.frame()] for _ in range(num_envs)]  # of the open episodes
        self.steps = [[] for _ in range(num_envs)]
        self.episodes = {}  # id -> (frames, steps, terminated)

    def frame(self):
        self.count += 1
        return torch.full((FRAME,), self.count % 251, dtype=self.dtype)

    def step(self, ends=(), terminates=()):
        envs = range(len(self.frames))
        before = torch.stack([stack(self.frames[env], -1) for env in envs])
        for env in envs:
            self.frames[env].append(self.frame())
        after = torch.stack([stack(self.frames[env], -1) for env in envs])
        actions = torch.rand(len(envs), 2)
        rewards = torch.rand(len(envs))
        ids = self.replay.open_episodes.tolist()
        is_terminal = torch.tensor([env in terminates for env in envs])
        is_cut = torch.tensor([env in ends for env in envs])
        self.replay.add(before, actions, rewards, rewards, after, is_terminal, is_cut)
        for env in envs:
            self.steps[env].append((actions[env], rewards[env]))
            self.episodes[ids[env]] = (self.frames[env], self.steps[env], env in terminates)
            if env in ends or env in terminates:
                self.frames[env], self.steps[env] = [self.frame()], []


def stack(frames, at):
    at = at % len(frames)
    return torch.cat([frames[max(0, at - back)] for back in range(FRAMES - 1, -1, -1)])


def recorded(capacity=200, num_envs=1, num_steps=100, every=7):
    recorder = Recorder(capacity, num_envs)
    for number in range(1, num_steps + 1):
        ending = number % num_envs if number % every == 0 else None
        terminal = (ending,) if number % (2 * every) == 0 and ending is not None else ()
        recorder.step(ends=() if ending is None else (ending,), terminates=terminal)
    return recorder


def find(recorder, observation, action):
    """Return the episode and step in which an observation was answered with an action."""
    for frames, steps, terminated in recorder.episodes.values():
        for at, (done, _) in enumerate(steps):
            if torch.equal(done, action) and torch.equal(stack(frames, at), observation):
                return frames, steps, terminated, at
    raise AssertionError("such a step was never added")


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("capacity", [400, 40])  # of the second, most is overwritten
def test_stacks_are_those_that_were_added(num_envs, capacity):
    recorder = recorded(capacity, num_envs)
    batch = recorder.replay.sample(200, torch.Generator().manual_seed(0))
    for row in range(200):
        frames, steps, terminated, at = find(recorder, batch.observations[row], batch.actions[row])
        assert torch.equal(batch.next_observations[row], stack(frames, at + 1))
        assert batch.rewards[row] == steps[at][1]
        assert bool(batch.terminated[row]) == (terminated and at == len(steps) - 1)


@pytest.mark.parametrize("capacity", [400, 40])
@pytest.mark.parametrize(("num_rewards", "num_actions"), [(3, 3), (1, 3), (4, 2), (2, 1)])
def test_transitions_of_several_steps(capacity, num_rewards, num_actions):
    recorder = recorded(capacity, num_envs=2, num_steps=90)
    steps = BatchSteps(num_rewards=num_rewards, num_actions=num_actions, discount=0.9)
    batch = recorder.replay.sample(150, torch.Generator().manual_seed(0), steps=steps)
    assert isinstance(batch, MultiStepBatch)
    assert batch.is_whole.any()
    for row in range(150):
        frames, taken, terminated, at = find(recorder, batch.observations[row], batch.actions[row])
        paid = [reward for _, reward in taken[at : at + num_rewards]]
        assert len(paid) == num_rewards
        expected = sum(0.9**power * reward for power, reward in enumerate(paid))
        torch.testing.assert_close(batch.rewards[row], expected)
        assert torch.equal(batch.next_observations[row], stack(frames, at + num_rewards))
        assert bool(batch.terminated[row]) == (terminated and at + num_rewards == len(taken))
        known = taken[at : at + num_actions]
        assert bool(batch.is_whole[row]) == (len(known) == num_actions)
        told = torch.zeros(num_actions, 2)
        told[: len(known)] = torch.stack([action for action, _ in known])
        assert torch.equal(batch.action_sequences[row], told)
        last = min(at + num_actions, len(taken))
        assert torch.equal(batch.later_observations[row], stack(frames, last))


def test_where_the_reward_reaches_as_far_as_the_actions_their_outcome_is_read_once():
    batch = recorded().replay.sample(
        5, torch.Generator().manual_seed(0), steps=BatchSteps(num_rewards=3, num_actions=3)
    )
    assert batch.later_observations is batch.next_observations


def test_every_readable_step_is_drawn_and_none_whose_past_is_gone():
    recorder = recorded(capacity=20, num_steps=53, every=30)
    draws = torch.Generator().manual_seed(0)
    seen = {int(first[-1]) for first in recorder.replay.sample(2_000, draws).observations}
    frames, _, _ = recorder.episodes[1]
    # Of the 20 rows the oldest two are only the past of the third.
    assert seen == {int(frame[0]) for frame in frames[-1 - 18 : -1]}


def test_segments_and_relabelling_see_stacks():
    recorder = recorded(capacity=40, num_steps=50, every=12)
    replay = recorder.replay
    index = replay.sample_segments(20, 4, torch.Generator().manual_seed(0))
    segments = replay.gather(index)
    for row in range(20):
        frames, steps, _ = recorder.episodes[int(index.episode[row])]
        start = int(index.start[row])
        for time in range(4):
            assert torch.equal(segments.observations[row, time], stack(frames, start + time))
            assert torch.equal(segments.actions[row, time], steps[start + time][0])
    replay.relabel(lambda observations, actions: observations.float().sum(1) + actions[:, 0])
    batch = replay.sample(50, torch.Generator().manual_seed(1))
    expected = batch.observations.float().sum(1) + batch.actions[:, 0]
    torch.testing.assert_close(batch.rewards, expected)


def test_retained_segments_outlive_the_ring_with_their_past():
    recorder = recorded(capacity=30, num_steps=25, every=12)
    replay = recorder.replay
    index = SegmentIndex(torch.tensor([0, 1]), torch.tensor([0, 2]), torch.tensor([3, 4]))
    replay.retain(index)
    before = replay.gather(index)
    for number in range(60):
        recorder.step(ends=(0,) if number % 9 == 0 else ())
    after = replay.gather(index)
    assert torch.equal(after.observations, before.observations)


def test_a_restored_buffer_goes_on_bit_for_bit():
    recorder = recorded(capacity=40, num_envs=2)
    other = ReplayBuffer(
        40, FRAME * FRAMES, 2, num_envs=2, observation_dtype=torch.uint8, num_frames=FRAMES
    )
    other.load_state_dict(copy.deepcopy(recorder.replay.state_dict()))
    twin = copy.deepcopy(recorder)
    twin.replay = other
    steps = BatchSteps(num_rewards=3, num_actions=2)
    for one in (recorder, twin):
        torch.manual_seed(7)
        for _ in range(15):
            one.step()
    drawn = [
        one.replay.sample(64, torch.Generator().manual_seed(3), steps=steps)
        for one in (recorder, twin)
    ]
    for name, value in vars(drawn[0]).items():
        assert torch.equal(value, getattr(drawn[1], name)), name


def test_a_state_of_other_stacks_is_refused():
    state = recorded(capacity=40).replay.state_dict()
    other = ReplayBuffer(40, FRAME * FRAMES, 2, observation_dtype=torch.uint8)
    with pytest.raises(ValueError, match="the stored replay has num_frames 3, this one 1"):
        other.load_state_dict(state)


def test_every_frame_is_kept_once():
    rows, colours, side = 256, 3, 32
    replay = ReplayBuffer(
        rows, FRAMES * colours * side**2, 6, observation_dtype=torch.uint8, num_frames=FRAMES
    )
    tensors = [part for part in vars(replay._ring).values() if isinstance(part, torch.Tensor)]
    images = [part for part in tensors if part.dtype == torch.uint8]
    others = sum(part.nbytes for part in tensors) - sum(part.nbytes for part in images)
    assert sum(part.nbytes for part in images) == rows * colours * side**2
    assert others == rows * 4 * (6 + 3)  # actions, two rewards, the episode


def test_datasets_of_frames():
    frames = torch.arange(12, dtype=torch.uint8)[:, None].expand(12, FRAME)
    replay = ReplayBuffer.from_episodes(
        observations=frames[[0, 1, 2, 4, 5, 6, 7, 8, 9, 10]],
        actions=torch.rand(10, 2),
        true_rewards=torch.arange(10.0),
        last_observations=frames[[3, 11]],
        lengths=torch.tensor([3, 7]),
        terminated=torch.tensor([False, True]),
        num_frames=FRAMES,
    )
    assert replay.observation_dim == FRAME * FRAMES
    index = SegmentIndex(torch.tensor([0, 1]), torch.tensor([0, 4]), torch.tensor([3, 3]))
    stacks = replay.gather(index).observations[..., ::FRAME]
    assert stacks[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]
    assert stacks[1].tolist() == [[6, 7, 8], [7, 8, 9], [8, 9, 10]]
    batch = replay.sample(100, torch.Generator().manual_seed(0))
    newest, following = batch.observations[:, -1].int(), batch.next_observations[:, -1].int()
    assert torch.equal(following, newest + 1)
    assert torch.equal(batch.terminated.bool(), newest == 10)


def test_sizes_that_make_no_stack():
    with pytest.raises(ValueError, match="must be a multiple of the 3 frames of a stack, got 10"):
        ReplayBuffer(10, 10, 2, num_frames=3)
