import pytest

from pbrl.lookup import look_up

TABLE = {"uniform": 1, "k-center": 2, "k-center+entropy": 3}


def test_known_names_are_found():
    assert look_up("sampler", "k-center", TABLE) == 2


def test_a_misspelt_name_gets_suggestions():
    with pytest.raises(ValueError, match="unknown sampler 'kcenter'; did you mean 'k-center' or"):
        look_up("sampler", "kcenter", TABLE)


def test_a_strange_name_gets_the_whole_list():
    with pytest.raises(ValueError, match=r"'%%%' \(known: uniform, k-center, k-center\+entropy\)"):
        look_up("sampler", "%%%", TABLE)
