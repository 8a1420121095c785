import io

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from pbrl.queries.human.recorded import RecordedSegment


def make(steps=4, **fields):
    rng = np.random.default_rng(0)
    return RecordedSegment(
        observations=rng.normal(size=(steps, 3)), actions=rng.normal(size=(steps, 2)), **fields
    )


@pytest.mark.parametrize("rows", [1, 4])
def test_everything_survives_the_bytes(rows):
    states = {"physics": np.arange(rows * 5.0).reshape(rows, 5), "elapsed": np.arange(rows)}
    segment = make(true_rewards=np.arange(4.0), states=states, episode=3, start=7)
    back = RecordedSegment.from_bytes(segment.to_bytes(), episode=3, start=7)
    np.testing.assert_array_equal(back.observations, segment.observations.astype(np.float32))
    np.testing.assert_array_equal(back.true_rewards, [0, 1, 2, 3])
    assert back.states["physics"].dtype == np.float64
    np.testing.assert_array_equal(back.states["physics"], states["physics"])
    assert (back.episode, back.start, len(back)) == (3, 7, 4)
    assert back.digest() == segment.digest()


def test_the_digest_names_the_content():
    assert make(episode=1).digest() == make(episode=2).digest()
    assert make().digest() != make(true_rewards=np.zeros(4)).digest()
    assert make().digest() != make(states={"physics": np.zeros((1, 2))}).digest()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"observations": np.zeros((0, 3)), "actions": np.zeros((0, 2))}, "at least one step"),
        ({"observations": np.full((4, 3), np.nan)}, "finite"),
        ({"states": {"physics": np.zeros((2, 3))}}, "states must have one row, or 4"),
    ],
)
def test_what_does_not_fit_is_refused(fields, reason):
    arrays = {"observations": np.zeros((4, 3)), "actions": np.zeros((4, 2))}
    with pytest.raises(ValueError, match=reason):
        RecordedSegment(**(arrays | fields))


@pytest.mark.parametrize("field", ["observations", "true_rewards"])
def test_arrays_of_other_lengths_are_refused(field):
    arrays = {"observations": np.zeros((4, 3)), "actions": np.zeros((4, 2))}
    wrong = np.zeros((3, 3)) if field == "observations" else np.zeros(3)
    # Here the annotations are checked, elsewhere the lengths are.
    with pytest.raises((ValueError, TypeCheckError)):
        RecordedSegment(**(arrays | {field: wrong}))


def test_nothing_is_unpickled():
    file = io.BytesIO()
    np.savez(file, observations=np.array([{}], dtype=object), actions=np.zeros((1, 1)))
    with pytest.raises(ValueError, match="pickle"):
        RecordedSegment.from_bytes(file.getvalue())
