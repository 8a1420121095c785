import pytest
import torch

from pbrl.retained import RetainedSegments
from pbrl.segments import SegmentIndex, Segments

NUM_ROWS = 32  # the slack of a rescue is two rows


def index(*segments: tuple[int, int, int]) -> SegmentIndex:
    return SegmentIndex(*torch.tensor(segments, dtype=torch.int64).reshape(-1, 3).T)


def read_windows(wanted: SegmentIndex, horizon: int) -> Segments:
    """Step t of episode e is e + t / 100, as a ring would read it."""
    mask = torch.arange(horizon) < wanted.length[:, None]
    values = (
        wanted.episode[:, None] + (wanted.start[:, None] + torch.arange(horizon)) / 100
    ) * mask
    return Segments(values[..., None], -values[..., None], mask, 2 * values)


def read_nonsense(wanted: SegmentIndex, horizon: int) -> Segments:
    """Read the ring after it was overwritten."""
    segments = read_windows(wanted, horizon)
    return Segments(
        torch.full_like(segments.observations, 99.0),
        torch.full_like(segments.actions, 99.0),
        segments.mask,
        torch.full_like(segments.true_rewards, 99.0),
    )


def assert_equal(first: Segments, second: Segments) -> None:
    for name in ("observations", "actions", "mask", "true_rewards"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def all_gone(wanted: SegmentIndex) -> torch.Tensor:
    return torch.ones(len(wanted), dtype=torch.bool)


def rescued(*segments: tuple[int, int, int]) -> RetainedSegments:
    """All of these copied, in two rescues, so that the copies are joined."""
    retained = RetainedSegments(torch.device("cpu"))
    for number, segment in enumerate(segments):
        retained.add(index(segment), torch.tensor([10 * number]))
        retained.rescue(10 * number, NUM_ROWS, read_windows)
    return retained


def test_nothing_is_copied_before_its_row_is_due():
    retained = RetainedSegments(torch.device("cpu"))
    wanted = index((1, 0, 3), (2, 0, 3), (3, 0, 3))
    retained.add(wanted, torch.tensor([7, 5, 20]))
    retained.rescue(4, NUM_ROWS, read_nonsense)
    assert "windows" not in retained.state_dict()
    retained.rescue(5, NUM_ROWS, read_windows)  # rows 5 to 7 leave together, row 20 stays
    assert retained.state_dict()["waiting"].tolist() == [[3], [0], [3]]
    assert len(retained) == 3
    gone = torch.tensor([True, True, False])
    assert_equal(retained.read(wanted, gone, 3, read_windows), read_windows(wanted, 3))


def test_copies_of_several_lengths_are_read_back():
    segments = [(2, 4, 3), (1, 0, 5), (2, 1, 1)]
    retained = rescued(*segments)
    wanted = index(*segments[::-1])
    found = retained.read(wanted, all_gone(wanted), 5, read_nonsense)
    assert_equal(found, read_windows(wanted, 5))
    shorter = index((1, 0, 2), (2, 4, 1))  # the beginning of a copy is a copy of the beginning
    found = retained.read(shorter, all_gone(shorter), 2, read_nonsense)
    assert_equal(found, read_windows(shorter, 2))


@pytest.mark.parametrize("lengths", [(2, 5), (5, 2), (3, 3)])
def test_of_equal_beginnings_the_longer_one_serves_both(lengths):
    both = [(7, 3, length) for length in lengths]
    for retained in (rescued(*both), rescued()):
        if not len(retained):
            retained.add(index(*both), torch.tensor([0, 0]))  # both wait when the rescue comes
            retained.rescue(0, NUM_ROWS, read_windows)
        assert len(retained) == 1
        wanted = index(*both)
        found = retained.read(wanted, all_gone(wanted), 5, read_nonsense)
        assert_equal(found, read_windows(wanted, 5))


def test_only_gone_segments_come_from_the_copies():
    retained = rescued((1, 0, 2))
    wanted = index((1, 0, 2), (5, 0, 2))
    found = retained.read(wanted, torch.tensor([True, False]), 2, read_nonsense)
    assert_equal(found[:1], read_windows(wanted[:1], 2))
    assert found.true_rewards[1].tolist() == [99.0, 99.0]


@pytest.mark.parametrize(
    "segment", [(1, 0, 6), (1, 1, 2), (2, 0, 1), (1, 0, 0), (1 + 2**32, 0, 2), (0, 2**32, 2)]
)
def test_what_was_never_copied_is_named(segment):
    retained = rescued((1, 0, 5), (3, 0, 5))
    wanted = index((3, 0, 2), segment)
    message = f"1 segments .* episode {segment[0]}, start {segment[1]}, length {segment[2]}"
    with pytest.raises(ValueError, match=message):
        retained.read(wanted, all_gone(wanted), 6, read_nonsense)


def test_adding_again_keeps_one():
    retained = RetainedSegments(torch.device("cpu"))
    for _ in range(3):
        retained.add(index((1, 0, 3), (1, 0, 2)), torch.tensor([4, 4]))
    assert len(retained) == 1
    retained.rescue(4, NUM_ROWS, read_windows)
    retained.add(index((1, 0, 3)), torch.tensor([4]))
    assert len(retained) == 1


def test_state_restores_waiting_ones_and_copies():
    retained = rescued((1, 0, 3), (2, 0, 4))
    retained.add(index((3, 0, 2)), torch.tensor([40]))
    restored = RetainedSegments(torch.device("cpu"))
    restored.load_state_dict(retained.state_dict())
    restored.rescue(40, NUM_ROWS, read_windows)
    wanted = index((1, 0, 3), (2, 0, 4), (3, 0, 2))
    found = restored.read(wanted, all_gone(wanted), 4, read_nonsense)
    assert_equal(found, read_windows(wanted, 4))
