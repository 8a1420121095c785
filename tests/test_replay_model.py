"""The replay buffer against a model made of plain lists, whatever happens in whatever order."""

from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

GO, TERMINATE, TRUNCATE, BOTH = range(4)
ENDS = st.sampled_from([GO, GO, GO, GO, TERMINATE, TRUNCATE, BOTH])
DRAWS_PER_CHOICE = 60  # each of a few dozen choices is missed with probability e^-60


@dataclass
class Step:
    row: int
    env: int
    observation: float
    action: float
    reward: float
    true_reward: float
    next_observation: float
    terminated: bool = False


@dataclass
class Episode:
    steps: list[Step] = field(default_factory=list)


class Model:
    """Lists of steps, and nothing clever."""

    def __init__(self, num_rows: int, num_envs: int) -> None:
        self.num_rows, self.num_envs = num_rows, num_envs
        self.episodes = {number: Episode() for number in range(num_envs)}
        self.open = list(range(num_envs))
        self.completed: list[int] = []
        self.rows_written = 0
        self.counter = 0.0
        self.observations = [self.fresh() for _ in range(num_envs)]

    def fresh(self) -> float:
        self.counter += 1.0
        return self.counter

    def step(self, ends: tuple[int, ...]) -> list[Step]:
        new = []
        for env in range(self.num_envs):
            observation, following = self.observations[env], self.fresh()
            new.append(
                Step(
                    row=self.rows_written,
                    env=env,
                    observation=observation,
                    action=observation / 1024,
                    reward=observation / 4,
                    true_reward=observation / 2,
                    next_observation=following,
                    terminated=ends[env] in (TERMINATE, BOTH),
                )
            )
            self.episodes[self.open[env]].steps.append(new[-1])
            self.observations[env] = following if ends[env] == GO else self.fresh()
        self.rows_written += 1
        self.finish([env for env in range(self.num_envs) if ends[env] != GO])
        return new

    def finish(self, envs: list[int]) -> None:
        for env in envs:
            self.completed.append(self.open[env])
            self.open[env] = len(self.episodes)
            self.episodes[len(self.episodes)] = Episode()

    def close_open(self) -> None:
        envs = [env for env in range(self.num_envs) if self.episodes[self.open[env]].steps]
        for env in envs:
            self.observations[env] = self.fresh()
        self.finish(envs)

    def held(self, number: int) -> list[Step]:
        oldest = self.rows_written - self.num_rows
        return [step for step in self.episodes[number].steps if step.row >= oldest]

    def all_held(self) -> list[Step]:
        return [step for number in self.episodes for step in self.held(number)]

    def completed_held(self) -> list[int]:
        return [number for number in self.completed if self.held(number)]

    def windows(self, length: int) -> set[tuple[int, int]]:
        legal = set()
        for number in self.completed_held():
            total, left = len(self.episodes[number].steps), len(self.held(number))
            legal |= {(number, start) for start in range(total - left, total - length + 1)}
        return legal


class ReplayMachine(RuleBasedStateMachine):
    """The buffer does what the lists do, whatever happens in whatever order."""

    @initialize(
        num_rows=st.sampled_from([1, 2, 3, 7, 12]),
        num_envs=st.integers(1, 3),
        seed=st.integers(0, 9),
    )
    def start(self, num_rows, num_envs, seed):
        # One step less than whole rows is rounded up to whole rows.
        self.capacity = max(1, num_rows * num_envs - (num_envs > 1))
        self.model = Model(num_rows, num_envs)
        self.replay = self.new_replay()
        self.generator = torch.Generator().manual_seed(seed)
        self.retained: list[tuple[int, int, int]] = []

    def new_replay(self) -> ReplayBuffer:
        # The smallest table, so that it drops episodes and grows within a few steps.
        with patch("pbrl.episodes._MIN_ENTRIES", 1):
            return ReplayBuffer(self.capacity, 2, 1, num_envs=self.model.num_envs)

    @rule(rows=st.lists(st.tuples(ENDS, ENDS, ENDS), min_size=1, max_size=10))
    def add(self, rows):
        for row in rows:
            ends = row[: self.model.num_envs]
            steps = self.model.step(ends)
            following = torch.tensor([step.next_observation for step in steps])
            observations = torch.tensor([step.observation for step in steps])
            self.replay.add(
                torch.stack([observations, -observations], 1),
                torch.tensor([[step.action] for step in steps]),
                torch.tensor([step.reward for step in steps]),
                torch.tensor([step.true_reward for step in steps]),
                torch.stack([following, -following], 1),
                torch.tensor([step.terminated for step in steps]),
                torch.tensor([end in (TRUNCATE, BOTH) for end in ends]),
            )

    @rule()
    def close_open_episodes(self):
        self.model.close_open()
        self.replay.close_open_episodes()

    @rule()
    def save_and_load(self):
        state = self.replay.state_dict()
        self.replay = self.new_replay()
        self.replay.load_state_dict(state)

    @rule(chunk_size=st.integers(1, 50), factor=st.integers(1, 8))
    def relabel(self, chunk_size, factor):
        self.replay.relabel(lambda o, a: factor * o[:, 0] + a[:, 0], chunk_size)
        for step in self.model.all_held():
            step.reward = factor * step.observation + step.action

    @precondition(lambda self: self.model.completed_held())
    @rule(data=st.data())
    def retain(self, data):
        legal = [
            (episode, start, length)
            for length in range(1, 6)
            for episode, start in sorted(self.model.windows(length))
        ]
        new = data.draw(st.lists(st.sampled_from(legal), min_size=1, max_size=4))
        self.retained += new
        self.replay.retain(self.index(new))

    @rule()
    def every_step_is_drawn(self):
        held = self.model.all_held()
        assert self.replay.num_steps == len(held)
        assert self.replay.num_steps_added == self.model.rows_written * self.model.num_envs
        if held:
            batch = self.replay.sample(DRAWS_PER_CHOICE * len(held), self.generator)
            self.check_batch(batch, held)
        else:
            with pytest.raises(ValueError, match="empty"):
                self.replay.sample(1, self.generator)

    @precondition(lambda self: self.model.completed_held())
    @rule(data=st.data())
    def some_episodes_are_drawn_from(self, data):
        choice = st.lists(st.sampled_from(self.model.completed_held()), min_size=1, unique=True)
        chosen = data.draw(choice)
        held = [step for number in chosen for step in self.model.held(number)]
        gone = [number for number in self.model.completed if not self.model.held(number)]
        episodes = torch.tensor(gone + chosen)  # what is overwritten is passed over
        number = DRAWS_PER_CHOICE * len(held)
        self.check_batch(self.replay.sample(number, self.generator, episodes=episodes), held)
        index = self.replay.sample_segments(number, 1, self.generator, episodes=episodes)
        assert set(index.episode.tolist()) == set(chosen)
        if gone:
            with pytest.raises(ValueError, match=f"{len(gone)} episodes"):
                self.replay.sample(1, self.generator, episodes=torch.tensor(gone))

    @rule(last=st.integers(0, 4))
    def episodes_are_listed(self, last):
        expected = self.model.completed_held()
        ids = self.replay.completed_episodes()
        assert ids.tolist() == expected
        newest = expected[max(0, len(expected) - last) :]
        assert self.replay.completed_episodes(last).tolist() == newest
        lengths = [len(self.model.episodes[number].steps) for number in expected]
        assert self.replay.episode_lengths(ids).tolist() == lengths

    @rule(length=st.integers(1, 5))
    def exactly_the_legal_windows_are_drawn(self, length):
        legal = self.model.windows(length)
        if not legal:
            with pytest.raises(ValueError, match=f"no episode holds a segment of {length} steps"):
                self.replay.sample_segments(1, length, self.generator)
            return
        index = self.replay.sample_segments(DRAWS_PER_CHOICE * len(legal), length, self.generator)
        drawn = set(zip(index.episode.tolist(), index.start.tolist(), strict=True))
        assert drawn == legal
        assert index.length.tolist() == [length] * len(index)
        self.check_gather([(episode, start, length) for episode, start in sorted(legal)])

    @precondition(lambda self: self.retained)
    @rule()
    def retained_segments_are_read(self):
        self.check_gather(self.retained)

    @precondition(lambda self: self.model.rows_written > self.model.num_rows)
    @rule()
    def overwritten_segments_are_refused(self):
        kept = {(episode, start) for episode, start, _ in self.retained}
        for number, episode in self.model.episodes.items():
            num_gone = len(episode.steps) - len(self.model.held(number))
            for start in range(num_gone):
                if (number, start) not in kept:
                    with pytest.raises(ValueError, match=f"episode {number}, start {start}"):
                        self.replay.gather(self.index([(number, start, 1)]))
                    with pytest.raises(ValueError, match="not in the replay buffer"):
                        self.replay.retain(self.index([(number, start, 1)]))
                    return

    @rule()
    def observations_are_all_there(self):
        stored = sorted(self.replay.all_observations()[:, 0].tolist())
        assert stored == sorted(step.observation for step in self.model.all_held())

    def teardown(self):
        if hasattr(self, "model"):
            self.every_step_is_drawn()
            for length in (1, 3):
                self.exactly_the_legal_windows_are_drawn(length)
            if self.retained:
                self.check_gather(self.retained)

    @staticmethod
    def index(segments: list[tuple[int, int, int]]) -> SegmentIndex:
        return SegmentIndex(*torch.tensor(segments).T)

    def check_batch(self, batch, held: list[Step]) -> None:
        of = {step.observation: step for step in held}
        drawn = batch.observations[:, 0].tolist()
        assert set(drawn) == set(of)
        steps = [of[value] for value in drawn]
        following = torch.tensor([step.next_observation for step in steps])
        assert torch.equal(batch.observations[:, 1], -batch.observations[:, 0])
        assert torch.equal(batch.next_observations, torch.stack([following, -following], 1))
        assert torch.equal(batch.actions, torch.tensor([[step.action] for step in steps]))
        assert torch.equal(batch.rewards, torch.tensor([step.reward for step in steps]))
        terminated = torch.tensor([float(step.terminated) for step in steps])
        assert torch.equal(batch.terminated, terminated)

    def check_gather(self, wanted: list[tuple[int, int, int]]) -> None:
        segments = self.replay.gather(self.index(wanted))
        horizon = max(length for _, _, length in wanted)
        assert segments.observations.shape == (len(wanted), horizon, 2)
        for row, (episode, start, length) in enumerate(wanted):
            steps = self.model.episodes[episode].steps[start : start + length]
            padding = [0.0] * (horizon - length)
            assert segments.mask[row].tolist() == [True] * length + [False] * (horizon - length)
            for values, name in (
                (segments.observations[row, :, 0], "observation"),
                (segments.actions[row, :, 0], "action"),
                (segments.true_rewards[row], "true_reward"),
            ):
                assert values.tolist() == [getattr(step, name) for step in steps] + padding


TestReplayMachine = ReplayMachine.TestCase
TestReplayMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
