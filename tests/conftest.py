"""Settings of every test."""

import os

# Tests run side by side: more threads each wait for one another. Programs they start inherit it.
for _library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import random  # noqa: E402  the settings above count where torch is loaded after them

import hypothesis  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

# How long an example takes says more about the machine than about the code. The same examples each
# time, so that a failure is of the change at hand; `--hypothesis-profile=explore` draws new ones.
hypothesis.settings.register_profile("pbrl", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("pbrl")


@pytest.fixture(autouse=True)
def _the_same_draws_each_time():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  what some dependencies draw from
    random.seed(0)


@pytest.fixture(autouse=True)
def _shapes_are_not_checked_in_many_updates(request):
    """Leave out the checks of shapes, which are most of a small update, in what makes many.

    Other tests go the same ways a few times, and are checked.
    """
    before = jaxtyping.config.jaxtyping_disable
    is_marked = request.node.get_closest_marker("many_updates") is not None
    jaxtyping.config.update("jaxtyping_disable", before or is_marked)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def pytest_collection_modifyitems(items):
    """Pass over what needs a GPU where there is none, and say so."""
    if not torch.cuda.is_available():
        without = pytest.mark.skip(reason="no CUDA device: torch.cuda.is_available() is false")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(without)
