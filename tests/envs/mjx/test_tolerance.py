import numpy as np
import pytest
import torch
from dm_control.utils import rewards
from hypothesis import given
from hypothesis import strategies as st

from pbrl.envs.mjx.tolerance import gaussian, linear, quadratic, tolerance

VALUES = torch.linspace(-4.0, 6.0, 101, dtype=torch.float64)


def test_by_hand():
    # Within, at the bound, half a margin and a whole margin below, and far away.
    values = torch.tensor([1.5, 1.0, 0.0, -1.0, -9.0])
    graded = tolerance(values, (1.0, 2.0), margin=2.0, falloff=linear, value_at_margin=0.5)
    torch.testing.assert_close(graded, torch.tensor([1.0, 1.0, 0.75, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("falloff", "value_at_margin"),
    [(gaussian, 0.1), (gaussian, 0.5), (linear, 0.0), (linear, 0.5), (quadratic, 0.0)],
)
@pytest.mark.parametrize("bounds", [(0.0, 0.0), (-1.0, 2.0), (1.2, float("inf"))])
def test_equals_the_suites(falloff, value_at_margin, bounds):
    ours = tolerance(VALUES, bounds, margin=1.5, falloff=falloff, value_at_margin=value_at_margin)
    theirs = rewards.tolerance(
        VALUES.numpy(),
        bounds,
        margin=1.5,
        sigmoid=falloff.__name__,
        value_at_margin=value_at_margin,
    )
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


def test_without_a_margin_only_the_bounds_count():
    np.testing.assert_array_equal(
        tolerance(VALUES, (0.0, 1.0)).numpy(), rewards.tolerance(VALUES.numpy(), (0.0, 1.0))
    )


@given(st.floats(-1e6, 1e6), st.floats(0.1, 100.0))
def test_lies_in_the_unit_interval(value, margin):
    for falloff in (gaussian, linear, quadratic):
        graded = tolerance(torch.tensor([value]), (-1.0, 1.0), margin=margin, falloff=falloff)
        assert 0.0 <= float(graded) <= 1.0
