import pytest
import torch

from pbrl.dropout import Dropout


def thin(rate, shape=(1000, 101), seed=0):
    return Dropout(rate, torch.Generator().manual_seed(seed))(torch.ones(shape))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_the_rate_is_met_and_the_mean_is_kept(rate):
    kept = thin(rate)
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    # 101,000 elements: the standard deviation of the share is below 0.0016.
    assert (kept == 0).float().mean() == pytest.approx(rate, abs=0.008)


def test_elements_are_dropped_independently_of_their_neighbours():
    dropped = (thin(0.5, (1, 400_000)) == 0).float()[0]
    for gap in range(1, 9):
        both = (dropped[gap:] * dropped[:-gap]).mean()
        assert both == pytest.approx(0.25, abs=0.005)


def test_the_same_generator_gives_the_same_elements_and_goes_on():
    torch.testing.assert_close(thin(0.5), thin(0.5), rtol=0, atol=0)
    layer = Dropout(0.5, torch.Generator().manual_seed(0))
    assert not torch.equal(layer(torch.ones(100)), layer(torch.ones(100)))


def test_evaluation_and_rate_zero_return_the_inputs():
    inputs = torch.randn(5, 3)
    assert Dropout(0.5).eval()(inputs) is inputs
    assert Dropout(0.0)(inputs) is inputs


def test_the_gradient_goes_through_the_elements_that_were_kept():
    inputs = torch.ones(3, 7, requires_grad=True)
    kept = Dropout(0.5, torch.Generator().manual_seed(1))(inputs)
    kept.sum().backward()
    torch.testing.assert_close(inputs.grad, kept.detach())


def test_a_rate_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1"):
        Dropout(1.0)
