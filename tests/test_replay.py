from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def add_episodes(
    replay: ReplayBuffer, lengths: list[int], terminated: bool = False
) -> list[torch.Tensor]:
    """Add episodes of one environment; observation t of episode e is [100 e + t]."""
    for number, length in enumerate(lengths):
        for time in range(length):
            value = torch.tensor([[100.0 * number + time]])
            is_last = torch.tensor([time == length - 1])
            replay.add(
                value,
                -value,
                value[0] * 2,
                value[0] * 3,
                value + 1,
                is_last & terminated,
                is_last & (not terminated),
            )
    return [torch.arange(length) + 100.0 * number for number, length in enumerate(lengths)]


def held_bytes(thing, seen: set[int]) -> int:
    """Return the memory of all tensors that an object holds, each storage once."""
    if isinstance(thing, torch.Tensor):
        storage = thing.untyped_storage()
        if storage.data_ptr() in seen:
            return 0
        seen.add(storage.data_ptr())
        return storage.nbytes()
    if isinstance(thing, dict):
        return sum(held_bytes(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple):
        return sum(held_bytes(value, seen) for value in thing)
    return held_bytes(vars(thing), seen) if hasattr(thing, "__dict__") else 0


def dataset(lengths: list[int], observation_dim: int = 1, action_dim: int = 1) -> dict:
    num_steps = sum(lengths)
    return {
        "observations": torch.rand(num_steps, observation_dim, generator=generator(1)),
        "actions": torch.rand(num_steps, action_dim, generator=generator(2)),
        "true_rewards": torch.rand(num_steps, generator=generator(3)),
        "last_observations": torch.rand(len(lengths), observation_dim, generator=generator(4)),
        "lengths": torch.tensor(lengths, dtype=torch.int64),
        "terminated": torch.arange(len(lengths)) % 2 == 0,
    }


def assert_same_state(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            assert_same_state(first[name], second[name])
    elif isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    else:
        assert first == second


def test_legal_windows_are_the_four_and_equally_often():
    # Three steps fit into five at 0, 1, 2, not into two, and into three once.
    replay = ReplayBuffer(20, 1, 1)
    add_episodes(replay, [5, 2, 3])
    index = replay.sample_segments(4000, 3, generator())
    counts = Counter(zip(index.episode.tolist(), index.start.tolist(), strict=True))
    assert set(counts) == {(0, 0), (0, 1), (0, 2), (2, 0)}
    assert all(abs(count - 1000) < 4 * 27.4 for count in counts.values())  # sd sqrt(4000 3/16)


def test_every_step_is_equally_often_in_a_batch():
    replay = ReplayBuffer(6, 1, 1)
    add_episodes(replay, [5, 3])  # wraps: steps 2, 3, 4 of episode 0 and all of episode 1 are left
    drawn = replay.sample(6000, generator()).observations[:, 0].tolist()
    assert set(drawn) == {2.0, 3.0, 4.0, 100.0, 101.0, 102.0}
    assert all(abs(count - 1000) < 4 * 28.9 for count in Counter(drawn).values())


def test_draw_from_episodes_is_uniform_over_their_steps():
    replay = ReplayBuffer(20, 1, 1)
    add_episodes(replay, [6, 4, 2])
    batch = replay.sample(6000, generator(), episodes=torch.tensor([2, 1]))
    counts = Counter(batch.observations[:, 0].tolist())
    assert set(counts) == {100.0, 101.0, 102.0, 103.0, 200.0, 201.0}
    assert all(abs(count - 1000) < 4 * 28.9 for count in counts.values())


def test_segment_as_long_as_the_episode_is_legal_and_one_step_more_is_not():
    replay = ReplayBuffer(20, 1, 1)
    observations = add_episodes(replay, [4, 2])
    index = replay.sample_segments(5, 4, generator())
    assert index.episode.tolist() == [0] * 5
    assert index.start.tolist() == [0] * 5
    assert torch.equal(replay.gather(index).observations[0, :, 0], observations[0])
    with pytest.raises(ValueError, match=r"segment of 5 steps.*longest has 4 steps"):
        replay.sample_segments(1, 5, generator())


def test_longest_episode_is_measured_by_what_is_left_of_it():
    replay = ReplayBuffer(5, 1, 1)
    add_episodes(replay, [7, 3])
    with pytest.raises(ValueError, match="longest has 3 steps in the buffer"):
        replay.sample_segments(1, 5, generator())
    with pytest.raises(ValueError, match="longest has 2 steps in the buffer"):
        replay.sample_segments(1, 5, generator(), episodes=torch.tensor([0]))


def test_nothing_to_draw_from_is_an_error():
    replay = ReplayBuffer(5, 1, 1)
    with pytest.raises(ValueError, match="empty"):
        replay.sample(1, generator())
    with pytest.raises(ValueError, match="0 episodes"):
        replay.sample_segments(1, 1, generator())
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        replay.sample_segments(1, 0, generator())
    one, no = torch.ones(1, 1), torch.tensor([False])
    replay.add(one, one, one[0], one[0], one, no, no)
    with pytest.raises(ValueError, match="0 episodes"):  # the one in progress does not count
        replay.sample_segments(1, 1, generator())


def test_same_seed_same_draws():
    replay = ReplayBuffer(20, 1, 1)
    add_episodes(replay, [5, 2, 3])
    first, second = (replay.sample(50, generator(3)) for _ in range(2))
    assert torch.equal(first.observations, second.observations)
    first, second = (replay.sample_segments(50, 2, generator(3)) for _ in range(2))
    assert torch.equal(first.episode, second.episode)
    assert torch.equal(first.start, second.start)


def test_gather_keeps_the_shape_of_the_index_and_pads():
    replay = ReplayBuffer(20, 2, 3)
    data = dataset([6, 4], observation_dim=2, action_dim=3)
    replay = ReplayBuffer.from_episodes(**data)
    pair = SegmentIndex(*torch.tensor([[[0, 1]], [[2, 0]], [[3, 4]]]))  # each [query, 2]
    segments = replay.gather(pair)
    assert segments.observations.shape == (1, 2, 4, 2)
    assert segments.actions.shape == (1, 2, 4, 3)
    assert segments.mask.tolist() == [[[True, True, True, False], [True] * 4]]
    assert torch.equal(segments.observations[0, 0, :3], data["observations"][2:5])
    assert torch.equal(segments.actions[0, 1], data["actions"][6:10])
    assert not segments.observations[0, 0, 3].any()
    torch.testing.assert_close(
        segments.true_returns(),
        torch.stack([data["true_rewards"][2:5].sum(), data["true_rewards"][6:10].sum()])[None],
    )


def test_segments_of_one_length_are_read_as_they_are_gathered():
    replay = ReplayBuffer.from_episodes(**dataset([7, 3, 9], observation_dim=2))
    index = replay.sample_segments(12, 3, generator()).reshape(2, 3, 2)
    assert replay.holds(index)
    for found, expected in zip(
        vars(replay.read(index, 3)).values(), vars(replay.gather(index)).values(), strict=True
    ):
        assert torch.equal(found, expected)
    beyond = SegmentIndex(torch.tensor([1]), torch.tensor([1]), torch.tensor([3]))
    assert not replay.holds(beyond)


def test_draws_follow_what_is_added_closed_and_loaded():
    """Where transitions begin is kept from one draw to the next."""

    def drawn(replay, episodes=None):
        batch = replay.sample(100, generator(), episodes, last_steps=episodes is not None)
        return batch.observations.unique().tolist()

    replay = ReplayBuffer(6, 1, 1)
    add_episodes(replay, [4])
    episodes = replay.completed_episodes()
    assert drawn(replay, episodes) == [0.0, 1.0, 2.0, 3.0]
    assert drawn(replay) == [0.0, 1.0, 2.0]
    add_episodes(replay, [4])  # overwrites two steps of the first
    assert drawn(replay, episodes) == [2.0, 3.0]
    assert drawn(replay, replay.completed_episodes()[1:]) == [0.0, 1.0, 2.0, 3.0]
    other = ReplayBuffer(6, 1, 1)
    add_episodes(other, [1, 5])
    assert drawn(other) == [100.0, 101.0, 102.0, 103.0]
    other.load_state_dict(replay.state_dict())
    assert drawn(other) == [0.0, 1.0, 2.0]
    ended = torch.zeros(1, dtype=torch.bool)
    for value in (50.0, 51.0):
        seen = torch.full((1, 1), value)
        other.add(seen, seen, seen[0], seen[0], seen + 1, ended, ended)
    assert drawn(other) == [0.0, 1.0, 2.0]
    other.close_open_episodes()
    assert drawn(other) == [0.0, 1.0, 2.0, 50.0]


def test_gather_of_nothing_is_empty():
    replay = ReplayBuffer(4, 2, 3)
    assert replay.gather(SegmentIndex.empty(0)).actions.shape == (0, 1, 3)
    assert replay.gather(SegmentIndex.empty(0, 2)).observations.shape == (0, 2, 1, 2)


@pytest.mark.parametrize(
    "segment", [(0, -1, 2), (0, 2, 2), (0, 0, 0), (0, 0, -1), (7, 0, 1), (-1, 0, 1), (2**32, 0, 1)]
)
def test_segments_that_never_existed_are_refused(segment):
    replay = ReplayBuffer(10, 1, 1)
    add_episodes(replay, [3, 3])
    index = SegmentIndex(*torch.tensor([segment]).T)
    for refuse in (replay.gather, replay.retain):
        with pytest.raises(ValueError, match=f"episode {segment[0]}, start {segment[1]}"):
            refuse(index)


def test_lengths_of_forgotten_episodes_are_refused():
    replay = ReplayBuffer(10, 1, 1)
    add_episodes(replay, [3, 3])
    with pytest.raises(ValueError, match="episode 9 is not in the replay buffer"):
        replay.episode_lengths(torch.tensor([1, 9]))


def test_terminated_wins_over_truncated_and_only_it_stops_bootstrapping():
    replay = ReplayBuffer(3, 1, 1)
    yes, no = torch.tensor([True]), torch.tensor([False])
    for value, terminated, truncated in ((1.0, yes, yes), (2.0, no, yes), (3.0, yes, no)):
        x = torch.tensor([[value]])
        replay.add(x, x, x[0], x[0], x * 10, terminated, truncated)
    assert replay.have_terminated(replay.completed_episodes()).tolist() == [True, False, True]
    batch = replay.sample(60, generator())
    assert set(zip(batch.observations[:, 0].tolist(), batch.terminated.tolist(), strict=True)) == {
        (1.0, 1.0),
        (2.0, 0.0),
        (3.0, 1.0),
    }
    assert torch.equal(batch.next_observations, 10 * batch.observations)


def test_relabel_covers_every_step_whatever_the_chunks():
    replay = ReplayBuffer(8, 1, 1)
    add_episodes(replay, [7, 4])
    calls = []

    def reward(observations, actions):
        calls.append(len(observations))
        return observations[:, 0] - 5 * actions[:, 0]

    for chunk_size in (1, 3, 8, 100):
        replay.relabel(lambda o, a: torch.zeros(len(o)), 8)
        calls.clear()
        replay.relabel(reward, chunk_size)
        assert sum(calls) == 8
        assert max(calls) <= chunk_size
        batch = replay.sample(400, generator())
        assert torch.equal(batch.rewards, 6 * batch.observations[:, 0])
        true = replay.gather(replay.sample_segments(20, 1, generator()))
        assert torch.equal(true.true_rewards, 3 * true.observations[..., 0])  # never touched


def test_relabel_wants_one_reward_per_step_and_no_gradient():
    replay = ReplayBuffer(8, 1, 1)
    add_episodes(replay, [3])
    weight = torch.ones(1, requires_grad=True)
    replay.relabel(lambda o, a: o[:, 0] * weight)
    assert not replay.sample(1, generator()).rewards.requires_grad
    for wrong in (lambda o, a: o, lambda o, a: torch.ones(1), lambda o, a: torch.tensor(1.0)):
        with pytest.raises(ValueError, match="one reward per step"):
            replay.relabel(wrong)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        replay.relabel(lambda o, a: o[:, 0], 0)


@pytest.mark.parametrize("name", ["capacity", "observation_dim", "action_dim", "num_envs"])
def test_sizes_must_be_positive(name):
    sizes = {"capacity": 1, "observation_dim": 1, "action_dim": 1, "num_envs": 1}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ReplayBuffer(**sizes | {name: 0})


def test_a_row_of_another_size_is_refused_and_not_added():
    replay = ReplayBuffer(10, 2, 1, num_envs=3)
    row = {
        "observations": torch.zeros(3, 2),
        "actions": torch.zeros(3, 1),
        "rewards": torch.zeros(3),
        "true_rewards": torch.zeros(3),
        "next_observations": torch.zeros(3, 2),
        "terminated": torch.zeros(3, dtype=torch.bool),
        "truncated": torch.zeros(3, dtype=torch.bool),
    }
    one_env = {name: value[:1] for name, value in row.items()}
    with pytest.raises(ValueError, match=r"observations must have shape \(3, 2\), got \(1, 2\)"):
        replay.add(**one_env)
    with pytest.raises(ValueError, match=r"actions must have shape \(3, 1\), got \(3, 2\)"):
        replay.add(**row | {"actions": torch.zeros(3, 2)})
    assert replay.num_steps == 0
    replay.add(**row)
    assert replay.num_steps == 3


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_from_episodes_equals_adding_step_by_step(lengths, seed):
    data = dataset(lengths, observation_dim=3, action_dim=2)
    rewards = torch.rand(sum(lengths), generator=generator(seed))
    filled = ReplayBuffer.from_episodes(**data, rewards=rewards)
    stepped = ReplayBuffer(sum(lengths), 3, 2)

    def add_all(replay: ReplayBuffer) -> None:
        time = 0
        for episode, length in enumerate(lengths):
            for number in range(length):
                is_last = torch.tensor([number == length - 1])
                one = slice(time, time + 1)
                following = data["observations"][time + 1 : time + 2]
                replay.add(
                    data["observations"][one],
                    data["actions"][one],
                    rewards[one],
                    data["true_rewards"][one],
                    data["last_observations"][episode : episode + 1] if is_last else following,
                    is_last & data["terminated"][episode],
                    is_last & ~data["terminated"][episode],
                )
                time += 1

    add_all(stepped)
    assert_same_state(filled.state_dict(), stepped.state_dict())
    for replay in (filled, stepped):  # and it goes on as any other buffer
        replay.retain(replay.sample_segments(3, 1, generator()))
        add_all(replay)
        add_all(replay)
    assert_same_state(filled.state_dict(), stepped.state_dict())


def test_rewards_of_a_dataset_stay_unknown_until_relabelling():
    data = dataset([3, 4])
    replay = ReplayBuffer.from_episodes(**data)
    assert not replay.sample(50, generator()).rewards.any()
    before = data["true_rewards"].clone()
    replay.relabel(lambda o, a: o[:, 0] + 1)
    assert replay.sample(50, generator()).rewards.all()
    assert torch.equal(data["true_rewards"], before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": torch.tensor([3, 5])}, "add up to 8 steps, but 7"),
        ({"lengths": torch.tensor([0, 7])}, "lengths must be at least 1, got 0"),
        ({"lengths": torch.tensor([-1, 8])}, "lengths must be at least 1, got -1"),
        ({"observations": torch.full((7, 1), torch.nan)}, "observations must be finite"),
        ({"actions": torch.full((7, 1), torch.inf)}, "actions must be finite"),
        ({"true_rewards": torch.full((7,), torch.nan)}, "rewards must be finite"),
        ({"last_observations": torch.full((2, 1), torch.nan)}, "last_observations must be finite"),
    ],
)
def test_bad_datasets_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ReplayBuffer.from_episodes(**dataset([3, 4]) | change)


def test_no_dataset_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one step"):
        ReplayBuffer.from_episodes(**dataset([]))


@pytest.mark.parametrize("copy", [True, False])
def test_a_dataset_is_copied_or_becomes_part_of_the_buffer(copy):
    data = dataset([3, 4])
    replay = ReplayBuffer.from_episodes(**data, copy=copy)
    before = replay.all_observations().clone()
    assert torch.equal(before, data["observations"])
    data["observations"] += 1
    assert torch.equal(replay.all_observations(), before) == copy


def test_million_transitions_cost_hardly_more_than_their_raw_arrays():
    observation_dim, action_dim, num_steps = 24, 6, 1_000_000
    data = dataset([1000] * 1000, observation_dim, action_dim)
    replay = ReplayBuffer.from_episodes(**data)
    raw = 4 * num_steps * (observation_dim + action_dim + 1)  # observations, actions, one reward
    assert held_bytes(replay, set()) < 1.1 * raw
    # With next observations, the arrays that a replay usually keeps, it is far less.
    assert held_bytes(replay, set()) < 1.3 * (raw + 4 * num_steps * observation_dim)

    # Drawing queries leaves nothing behind in the buffer.
    before = held_bytes(replay, set())
    index = replay.sample_segments(2 * 100_000, 50, generator()).reshape(100_000, 2)
    replay.gather(index[:100])
    assert held_bytes(replay, set()) == before
    assert held_bytes(index, set()) == 3 * 8 * 2 * 100_000  # three integers a segment


def test_retained_segments_survive_the_wrap_and_a_restart():
    replay = ReplayBuffer(10, 1, 1)
    add_episodes(replay, [6, 4])
    index = SegmentIndex(*torch.tensor([[0, 1, 3], [0, 1, 5], [0, 3, 2], [1, 0, 4]]).T)
    before = replay.gather(index)
    replay.retain(index)
    for _ in range(3):
        state = {name: dict(value) for name, value in replay.state_dict().items()}
        replay = ReplayBuffer(10, 1, 1)
        replay.load_state_dict(state)
        add_episodes(replay, [3, 1, 2])
        after = replay.gather(index)
        for field_ in ("observations", "actions", "mask", "true_rewards"):
            assert torch.equal(getattr(before, field_), getattr(after, field_))
    with pytest.raises(ValueError, match=r"1 segments .* episode 0, start 0, length 2"):
        replay.gather(SegmentIndex(*torch.tensor([[0, 1, 3], [0, 0, 2]]).T))
    replay.retain(index)  # kept already: nothing to do, and no error


def test_retaining_again_and_again_costs_nothing():
    replay = ReplayBuffer(10, 1, 1)
    add_episodes(replay, [6, 4])
    index = SegmentIndex(*torch.tensor([[0, 1, 3], [0, 3, 2]]).T)
    replay.retain(index)
    size = held_bytes(replay, set())
    for _ in range(5):
        replay.retain(index)
    assert held_bytes(replay, set()) == size
    add_episodes(replay, [5, 5])
    size = held_bytes(replay, set())
    replay.retain(index)
    assert held_bytes(replay, set()) == size


def test_a_restored_buffer_goes_on_as_the_old_one():
    first = ReplayBuffer(12, 1, 1)
    add_episodes(first, [5, 2, 8])
    first.retain(first.sample_segments(4, 2, generator(5)))
    second = ReplayBuffer(12, 1, 1)
    second.load_state_dict(first.state_dict())
    assert_same_state(first.state_dict(), second.state_dict())
    for replay in (first, second):
        add_episodes(replay, [3, 7])
        replay.relabel(lambda o, a: o[:, 0] ** 2)
    assert_same_state(first.state_dict(), second.state_dict())
    assert torch.equal(
        first.sample(30, generator()).next_observations,
        second.sample(30, generator()).next_observations,
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((5, 1, 1, 1), "num_rows"),
        ((12, 1, 1, 3), "num_rows|num_envs"),
        ((12, 4, 1, 1), r"observations of shape \(10, 1\), this one \(10, 4\)"),
        ((12, 1, 4, 1), r"actions of shape \(10, 1\), this one \(10, 4\)"),
    ],
)
def test_a_state_of_another_shape_is_refused_and_changes_nothing(sizes, message):
    stored = ReplayBuffer(12, 1, 1)
    add_episodes(stored, [10])
    *sizes, num_envs = sizes
    replay = ReplayBuffer(*sizes, num_envs=num_envs)
    with pytest.raises(ValueError, match=message):
        replay.load_state_dict(stored.state_dict())
    assert replay.num_steps == 0
    assert not replay.all_observations().any()


def test_interrupted_episodes_are_closed_as_truncated():
    replay = ReplayBuffer(12, 1, 1, num_envs=2)
    for time in range(3):
        x = torch.tensor([[10.0 + time], [20.0 + time]])
        ends = torch.tensor([False, time == 2])
        replay.add(x, x, x[:, 0], x[:, 0], x + 1, torch.zeros_like(ends), ends)
    assert replay.completed_episodes().tolist() == [1]
    replay.close_open_episodes()
    replay.close_open_episodes()  # nothing is open any more
    assert replay.completed_episodes().tolist() == [1, 0]
    x, no = torch.tensor([[50.0], [60.0]]), torch.tensor([False, False])
    replay.add(x, x, x[:, 0], x[:, 0], x + 1, no, no)
    batch = replay.sample(200, generator())
    assert torch.equal(batch.next_observations, batch.observations + 1)
    assert not batch.terminated.any()


def test_last_steps_are_left_out_where_asked_for():
    """Episodes of three, one and two steps: those that another one follows are 0, 1 and 4."""
    replay = ReplayBuffer.from_episodes(
        observations=torch.arange(6.0)[:, None],
        actions=torch.zeros(6, 1),
        true_rewards=torch.arange(6.0),
        last_observations=torch.full((3, 1), 99.0),
        lengths=torch.tensor([3, 1, 2]),
        terminated=torch.tensor([True, True, True]),
    )
    drawn = replay.sample(3000, torch.Generator().manual_seed(0), last_steps=False)
    seen, counts = drawn.observations[:, 0].unique(return_counts=True)
    assert seen.tolist() == [0, 1, 4]
    assert counts.min() > 900
    torch.testing.assert_close(drawn.next_observations, drawn.observations + 1)
    assert not drawn.terminated.any()
    some = replay.sample(50, torch.Generator().manual_seed(0), torch.tensor([2]), last_steps=False)
    assert some.observations.unique().tolist() == [4]
    with pytest.raises(ValueError, match="no episode holds"):
        replay.sample(1, torch.Generator(), torch.tensor([1]), last_steps=False)


def test_views_of_every_step_in_storage_order():
    replay = ReplayBuffer.from_episodes(
        observations=torch.zeros(3, 1),
        actions=torch.zeros(3, 1),
        true_rewards=torch.tensor([1.0, 2.0, 3.0]),
        last_observations=torch.zeros(2, 1),
        lengths=torch.tensor([1, 2]),
        terminated=torch.tensor([False, False]),
    )
    assert replay.all_rewards().tolist() == [0, 0, 0]
    assert replay.all_true_rewards().tolist() == [1, 2, 3]
    assert replay.all_episodes().tolist() == [0, 1, 1]
    replay.all_rewards().copy_(replay.all_true_rewards())
    assert sorted(replay.sample(50, torch.Generator()).rewards.unique().tolist()) == [1, 2, 3]


def image_buffer() -> tuple[ReplayBuffer, torch.Tensor]:
    """Two episodes of three and two steps, whose flat images are made of their step's number."""
    images = torch.arange(5, dtype=torch.uint8)[:, None].repeat(1, 12) * 10
    buffer = ReplayBuffer.from_episodes(
        observations=images,
        actions=torch.zeros(5, 1),
        true_rewards=torch.zeros(5),
        last_observations=torch.tensor([[250] * 12, [251] * 12], dtype=torch.uint8),
        lengths=torch.tensor([3, 2]),
        terminated=torch.tensor([False, True]),
    )
    return buffer, images


def test_images_stay_bytes_and_are_stored_once():
    buffer, images = image_buffer()
    batch = buffer.sample(200, torch.Generator().manual_seed(0))
    assert batch.observations.dtype == batch.next_observations.dtype == torch.uint8
    following = {0: 10, 10: 20, 20: 250, 30: 40, 40: 251}
    seen = zip(
        batch.observations[:, 0].tolist(), batch.next_observations[:, 0].tolist(), strict=True
    )
    assert set(seen) == set(following.items())
    index = SegmentIndex(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2, 1]))
    segments = buffer.gather(index)
    assert segments.observations.dtype == torch.uint8
    assert segments.observations[:, :, 0].tolist() == [[10, 20], [30, 0]]
    assert buffer.state_dict()["ring"]["observations"].nbytes == images.nbytes == 60


def test_images_written_step_by_step_are_kept_when_the_ring_wraps():
    buffer = ReplayBuffer(2, 4, 1, observation_dtype=torch.uint8)
    never, ends = torch.tensor([False]), torch.tensor([True])
    for step in range(4):
        image = torch.full((1, 4), 100 + step, dtype=torch.uint8)
        buffer.add(
            image, torch.zeros(1, 1), torch.zeros(1), torch.zeros(1), image + 1, never,
            ends if step % 2 else never,
        )  # fmt: skip
        if step == 1:
            first = SegmentIndex(torch.tensor([0]), torch.tensor([0]), torch.tensor([2]))
            buffer.retain(first)
    assert buffer.gather(first).observations[0, :, 0].tolist() == [100, 101]
    assert buffer.gather(first).observations.dtype == torch.uint8


def test_numbers_that_an_image_cannot_hold_are_refused():
    buffer, _ = image_buffer()
    one, never = torch.zeros(1), torch.tensor([False])
    with pytest.raises(ValueError, match=r"observations must be torch.uint8.*got torch.float32"):
        buffer.add(
            torch.zeros(1, 12), torch.zeros(1, 1), one, one, torch.zeros(1, 12), never, never
        )
    with pytest.raises(ValueError, match=r"last_observations must be torch.uint8"):
        ReplayBuffer.from_episodes(
            observations=torch.zeros(2, 3, dtype=torch.uint8),
            actions=torch.zeros(2, 1),
            true_rewards=torch.zeros(2),
            last_observations=torch.zeros(1, 3),
            lengths=torch.tensor([2]),
            terminated=torch.tensor([False]),
        )
    of_numbers = ReplayBuffer(5, 12, 1)
    with pytest.raises(ValueError, match=r"observations must be torch.float32.*got torch.uint8"):
        of_numbers.load_state_dict(buffer.state_dict())
    with pytest.raises(ValueError, match="observation_dtype must be"):
        ReplayBuffer(5, 12, 1, observation_dtype=torch.float16)
