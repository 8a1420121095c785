import pytest
import torch

import pbrl.episodes
from pbrl.episodes import EpisodeTable
from pbrl.segments import SegmentIndex

CPU = torch.device("cpu")


class Driver:
    """Steps a table as a replay buffer with `num_rows` rows does."""

    def __init__(self, num_envs: int, num_rows: int) -> None:
        self.table = EpisodeTable(num_envs, 1, device=CPU)
        self.num_envs, self.num_rows, self.row = num_envs, num_rows, 0

    @property
    def oldest_row(self) -> int:
        return max(0, self.row - self.num_rows)

    @property
    def size(self) -> int:
        """Entries the table has room for."""
        return len(self.table._id)

    def step(self, ending: set[int] = frozenset(), terminated: set[int] = frozenset()) -> None:
        self.row += 1
        flags = [
            torch.tensor([env in ended for env in range(self.num_envs)])
            for ended in (terminated, ending)
        ]
        observations = torch.full((self.num_envs, 1), float(self.row))
        self.table.extend(observations, *flags, self.row)
        if self.table.is_full:
            self.table.make_room(self.oldest_row)


def index(*segments: tuple[int, int, int]) -> SegmentIndex:
    return SegmentIndex(*torch.tensor(segments).T)


def test_out_of_phase_environments_by_hand():
    # row         0  1  2  3  4
    # env 0       0  0  2  2  2     episode 0 truncated after two rows, 2 in progress
    # env 1       1  1  1  3  4     1 terminated after three, 3 after one, 4 in progress
    driver = Driver(num_envs=2, num_rows=100)
    driver.step()
    driver.step(ending={0})
    driver.step(terminated={1})
    driver.step(ending={1}, terminated={1})
    driver.step()
    table = driver.table
    assert table.completed_ids(0).tolist() == [0, 1, 3]
    assert table.open_ids.tolist() == [2, 4]
    assert table.lengths(torch.tensor([3, 0, 1, 2, 4])).tolist() == [1, 2, 3, 3, 1]
    row, env = table.locate(index((0, 1, 1), (1, 2, 1), (3, 0, 1), (4, 0, 1)))
    assert row.tolist() == [1, 2, 3, 4]
    assert env.tolist() == [0, 1, 1, 1]
    is_last, last_observations, terminated = table.at_end(
        torch.tensor([0, 0, 1, 3, 2]), torch.tensor([0, 1, 2, 3, 4])
    )
    assert is_last.tolist() == [False, True, True, True, True]
    assert last_observations[1:, 0].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert terminated.tolist() == [False, False, True, True, False]


def test_legal_windows_by_hand():
    driver = Driver(num_envs=1, num_rows=100)
    for time in range(10):  # lengths 5, 2, 3
        driver.step(ending={0} if time in (4, 6, 9) else set())
    starts = driver.table.window_starts(torch.tensor([0, 1, 2, 77]), 3, oldest_row=0)
    first, number = starts.first, starts.bounds - starts.before
    assert number.tolist() == [3, 0, 1, 0]
    assert first.tolist()[:3] == [0, 0, 0]
    # Rows 0 and 1 overwritten: starts 2 of episode 0 and 0 of episode 2 are left.
    starts = driver.table.window_starts(torch.tensor([0, 1, 2]), 3, oldest_row=2)
    first, number = starts.first, starts.bounds - starts.before
    assert number.tolist() == [1, 0, 1]
    assert first.tolist() == [2, 0, 0]
    assert driver.table.completed_ids(4).tolist() == [0, 1, 2]
    assert driver.table.completed_ids(5).tolist() == [1, 2]


def test_segments_that_are_not_wholly_there_are_gone():
    driver = Driver(num_envs=1, num_rows=100)
    for time in range(6):  # lengths 4 and, in progress, 2
        driver.step(ending={0} if time == 3 else set())
    segments = index(
        (0, 0, 4), (0, 1, 3), (0, 1, 4), (0, 4, 1), (0, -1, 2), (0, 1, 0), (1, 0, 2), (2, 0, 1)
    )
    gone = driver.table.is_gone(segments, oldest_row=0).tolist()
    assert gone == [False, False, True, True, True, True, False, True]
    gone = driver.table.is_gone(segments, oldest_row=1).tolist()
    assert gone == [True, False, True, True, True, True, False, True]


def test_forgotten_episodes_are_known_no_more(monkeypatch):
    monkeypatch.setattr(pbrl.episodes, "_MIN_ENTRIES", 4)
    driver = Driver(num_envs=1, num_rows=3)
    for _ in range(50):
        driver.step(ending={0})
    assert driver.table.completed_ids(driver.oldest_row).tolist() == [47, 48, 49]
    assert driver.table.open_ids.tolist() == [50]
    assert driver.table.is_gone(index((46, 0, 1), (47, 0, 1)), 47).tolist() == [True, False]
    with pytest.raises(ValueError, match="episode 3 is not in the replay buffer"):
        driver.table.lengths(torch.tensor([48, 3]))


def test_table_of_many_short_episodes_stays_small():
    driver = Driver(num_envs=2, num_rows=50)
    for _ in range(3000):
        driver.step(ending={0, 1})
    assert driver.size <= 4 * 2 * 51


def test_an_endless_episode_does_not_keep_the_others_alive():
    # Environment 0 never ends, so the first entry of the table stays for ever.
    driver = Driver(num_envs=2, num_rows=50)
    for _ in range(3000):
        driver.step(ending={1})
    assert driver.size <= 4 * 51
    assert driver.table.lengths(torch.tensor([0])).tolist() == [3000]
    completed = driver.table.completed_ids(driver.oldest_row)
    assert len(completed) == 50
    row, env = driver.table.locate(SegmentIndex(completed, *torch.zeros(2, 50).long()))
    assert row.tolist() == list(range(2950, 3000))
    assert env.unique().tolist() == [1]


def test_table_grows_when_all_episodes_are_alive():
    driver = Driver(num_envs=3, num_rows=1000)
    calls = []
    make_room = driver.table.make_room
    driver.table.make_room = lambda oldest_row: calls.append(make_room(oldest_row))
    for time in range(800):
        driver.step(ending={0, 1, 2} if time % 4 == 3 else set())
    assert driver.table.completed_ids(0).tolist() == list(range(600))
    assert driver.size <= 4 * 603
    assert len(calls) == 4  # from 64 entries to 128, 256, 512 and 1024, not at every step


def test_closing_twice_in_a_row_leaves_room_for_the_next_ends(monkeypatch):
    monkeypatch.setattr(pbrl.episodes, "_MIN_ENTRIES", 1)
    driver = Driver(num_envs=2, num_rows=100)
    driver.step()
    driver.table.close_open(driver.row)
    driver.table.close_open(driver.row)
    driver.step(ending={0, 1})
    assert driver.table.completed_ids(0).tolist() == [0, 1, 2, 3]
    assert driver.table.open_ids.tolist() == [4, 5]


def test_state_restores_a_table_of_another_size():
    driver = Driver(num_envs=2, num_rows=1000)
    for time in range(300):
        driver.step(ending={time % 2}, terminated={time % 3})
    restored = Driver(num_envs=2, num_rows=1000)
    restored.table.load_state_dict(driver.table.state_dict())
    restored.row = driver.row
    for one in (driver, restored):
        one.step(ending={0})
    ids = driver.table.completed_ids(0)
    assert restored.table.completed_ids(0).tolist() == ids.tolist()
    assert restored.table.open_ids.tolist() == driver.table.open_ids.tolist()
    assert restored.table.lengths(ids).tolist() == driver.table.lengths(ids).tolist()


@pytest.mark.parametrize("count", [0, 2])
def test_fill_checks_that_fields_belong_together(count):
    table = EpisodeTable(1, 1, device=CPU)
    lengths = torch.tensor([1, 2, 3])
    # The annotations tie the axes of one call together; a run without them has this check.
    fill = getattr(EpisodeTable.fill, "__wrapped__", EpisodeTable.fill)
    with pytest.raises(ValueError, match=r"terminated must have shape \(3,\)"):
        fill(table, lengths, torch.zeros(count, dtype=torch.bool), torch.zeros(3, 1))
