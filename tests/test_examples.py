import pytest
import torch

from pbrl.examples import bootstrap_mask, held_out_mask, make_examples
from pbrl.feedback import LabelledQueries
from pbrl.replay import ReplayBuffer
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import SegmentIndex


def counting_replay() -> ReplayBuffer:
    """Two episodes of 10 steps; the observation of a step is its number."""
    replay = ReplayBuffer(20, 1, 1)
    no = torch.tensor([False])
    for step in range(20):
        number = torch.tensor([[float(step)]])
        replay.add(number, -number / 20, number[0], number[0], number, no, no | (step % 10 == 9))
    return replay


def labelled_pairs() -> LabelledQueries:
    """Three pairs, of which two share a segment, of lengths 3 and 4."""
    index = SegmentIndex(
        episode=torch.tensor([[0, 1], [0, 0], [1, 1]]),
        start=torch.tensor([[2, 5], [2, 6], [0, 1]]),
        length=torch.tensor([[3, 3], [3, 4], [4, 4]]),
    )
    return LabelledQueries(index, torch.tensor([1.0, 0.0, 0.5]), torch.tensor([1.0, 2.0, 0.5]))


def ensemble() -> RewardEnsemble:
    return RewardEnsemble(RewardConfig(num_members=2, hidden_sizes=(4,)), 1, 1)


@pytest.mark.parametrize("memory_limit", [1e9, 0.0])
def test_pairs_lead_back_to_their_steps(memory_limit):
    replay, labelled = counting_replay(), labelled_pairs()
    examples = make_examples(labelled, replay, ensemble(), memory_limit)
    assert len(examples.windows) == 5  # six segments, one of them twice
    assert examples.windows.horizon == 4
    inputs = examples.windows.take(examples.pairs)
    lengths = examples.windows.lengths[examples.pairs]
    assert torch.equal(lengths, labelled.index.length)
    segments = replay.gather(labelled.index)
    inside = segments.mask[..., None]
    torch.testing.assert_close(inputs[..., :1] * inside, segments.observations)
    torch.testing.assert_close(inputs[..., 1:] * inside, segments.actions)
    assert inputs[0, 0, :3, 0].tolist() == [2.0, 3.0, 4.0]
    assert torch.equal(examples.weights, labelled.weights.expand(2, 3))


def test_subset_keeps_rows_together():
    examples = make_examples(labelled_pairs(), counting_replay(), ensemble(), 1e9)
    some = examples.subset(torch.tensor([True, False, True]))
    assert some.labels.tolist() == [1.0, 0.5]
    assert some.weights.tolist() == [[1.0, 0.5], [1.0, 0.5]]
    assert torch.equal(some.pairs, examples.pairs[[0, 2]])


def many_queries(number: int = 4000) -> SegmentIndex:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randint(1000, (2, number, 2), generator=generator)
    return SegmentIndex(draw[0], draw[1], torch.full((number, 2), 50))


def test_bootstrap_shows_each_member_its_own_share():
    mask = bootstrap_mask(many_queries(), 3, 0.6)
    assert (mask.float().mean(1) - 0.6).abs().max() < 0.03
    # Independent members agree on 0.6^2 + 0.4^2 of the queries.
    assert abs((mask[0] == mask[1]).float().mean() - 0.52) < 0.03
    assert bootstrap_mask(many_queries(), 3, 1.0).all()


def test_masks_depend_on_the_query_alone():
    index = many_queries()
    later = SegmentIndex.cat([index[10:50], index])  # rows moved, some asked twice
    for mask_of in (lambda i: bootstrap_mask(i, 3, 0.5), lambda i: held_out_mask(i, 0.5)[None]):
        assert torch.equal(mask_of(later)[:, 40:], mask_of(index))
        assert torch.equal(mask_of(later)[:, :40], mask_of(index)[:, 10:50])


def test_held_out_share_is_independent_of_the_bootstrap():
    index = many_queries()
    held_out = held_out_mask(index, 0.25)
    assert abs(held_out.float().mean() - 0.25) < 0.03
    assert not held_out_mask(index, 0.0).any()
    seen = bootstrap_mask(index, 1, 0.5)[0]
    assert abs(seen[held_out].float().mean() - 0.5) < 0.05
