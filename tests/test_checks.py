"""Checks of configurations: the first field that does not hold is named, with what came."""

from types import SimpleNamespace

import pytest

from pbrl.checks import check_fields


def test_what_holds_passes():
    check_fields(SimpleNamespace(rate=0.1), ("rate", "above 0", True))


def test_the_first_that_does_not_hold_is_named_with_what_is_legal_and_what_came():
    config = SimpleNamespace(rate=0.1, kind="quick", size=0)
    with pytest.raises(ValueError, match=r"^kind must be slow, got 'quick'$"):
        check_fields(
            config,
            ("rate", "above 0", True),
            ("kind", "slow", False),
            ("size", "at least 1", False),
        )
