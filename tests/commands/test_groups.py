import sys
import types

import pytest

from pbrl.commands.groups import run_group, usage

WORDS = {"one": ("pbrl.commands.one_of_the_test", "do one thing"), "two": ("absent", "another")}


def test_the_rest_reaches_the_module_and_its_status_comes_back(monkeypatch):
    module = types.ModuleType("pbrl.commands.one_of_the_test")
    seen = []
    module.main = lambda words: seen.extend(words) or 7
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert run_group("pbrl x", "Things.", WORDS, ["one", "a", "--b"]) == 7
    assert seen == ["a", "--b"]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_usage_names_every_word_and_imports_none(arguments, capsys):
    assert run_group("pbrl x", "Things.", WORDS, arguments) is None
    assert capsys.readouterr().out.strip() == usage(
        "pbrl x", "Things.", {"one": "do one thing", "two": "another"}
    )


def test_a_misspelt_word_is_helped():
    with pytest.raises(ValueError, match=r"unknown word 'twoo'; did you mean 'two'\? .*one, two"):
        run_group("pbrl x", "Things.", WORDS, ["twoo"])
