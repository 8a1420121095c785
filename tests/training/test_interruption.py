import os
import signal

import pytest

from pbrl.training.interruption import interruptible


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_says_what_follows_and_a_second_ctrl_c_ends_at_once(capfd, first):
    with interruptible() as is_interrupted:
        assert not is_interrupted()
        os.kill(os.getpid(), first)
        assert is_interrupted()
        said = capfd.readouterr().err
        assert said.startswith("\nstopping: the run is saved at the next point")
        assert "a second Ctrl-C ends it at once" in said
        os.kill(os.getpid(), signal.SIGTERM)  # asks for what is coming anyway
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert capfd.readouterr().err == ""


def test_outside_signals_are_what_they_were():
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
