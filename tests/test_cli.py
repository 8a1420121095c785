import subprocess
import sys
import types
import warnings

import pytest

import pbrl
from pbrl import cli


@pytest.fixture
def verb(monkeypatch):
    """Install a verb `plot` that does what the test sets."""
    module = types.ModuleType("pbrl.commands.plot")
    monkeypatch.setitem(sys.modules, "pbrl.commands.plot", module)
    monkeypatch.delenv("PBRL_TRACEBACK", raising=False)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # restored at the end
    return module


def raising(error):
    def main(words):
        raise error

    return main


def test_words_reach_the_verb(verb):
    seen = []
    verb.main = seen.extend
    cli.main(["plot", "a", "--b"])
    assert seen == ["a", "--b"]


def test_the_status_is_that_of_the_verb(verb):
    verb.main = lambda words: 1
    with pytest.raises(SystemExit) as stop:
        cli.main(["plot"])
    assert stop.value.code == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("seed must not be negative"), "pbrl plot: seed must not be negative\n"),
        (FileNotFoundError(2, "No such file", "a.json"), "pbrl plot: No such file: a.json\n"),
        (FileNotFoundError("there is no run"), "pbrl plot: there is no run\n"),
        (ImportError("needs the extra"), "pbrl plot: needs the extra\n"),
    ],
)
def test_what_a_user_can_put_right_is_one_message_and_status_two(verb, capsys, error, message):
    verb.main = raising(error)
    with pytest.raises(SystemExit) as stop:
        cli.main(["plot"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == message


def test_the_traceback_is_there_when_asked_for(verb, monkeypatch):
    monkeypatch.setenv("PBRL_TRACEBACK", "1")
    verb.main = raising(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        cli.main(["plot"])


@pytest.mark.parametrize("error", [AssertionError("ours"), ImportError("cannot", name="pbrl.x")])
def test_our_own_faults_are_not_hidden(verb, error):
    verb.main = raising(error)
    with pytest.raises(type(error)):
        cli.main(["plot"])


def test_an_interruption_says_what_is_left(verb, capsys):
    verb.main = raising(KeyboardInterrupt("stopped at step 7"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["plot"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stopped at step 7\n"


STOPPED_IN_EXEC = """
import signal, sys, types
from pbrl import cli
verb = types.ModuleType("pbrl.commands.plot")
verb.main = lambda words: exec("import signal; signal.raise_signal(signal.SIGINT)")
sys.modules["pbrl.commands.plot"] = verb
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.run_verb("plot", [])
"""


def test_ctrl_c_ends_in_our_status_wherever_it_comes(tmp_path):
    (tmp_path / "program.py").write_text(STOPPED_IN_EXEC)
    words = [sys.executable, "-m", "program"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (cli.INTERRUPTED, "stopped\n")


def test_notes_on_an_error_are_part_of_its_message(verb, capsys):
    error = ValueError("the simulation broke")
    error.add_note("--resume goes on")
    verb.main = raising(error)
    with pytest.raises(SystemExit):
        cli.main(["plot"])
    assert capsys.readouterr().err == "pbrl plot: the simulation broke\n--resume goes on\n"


def test_an_unknown_verb_suggests_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["trian"])
    assert stop.value.code == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_usage_names_every_verb(capsys, words):
    cli.main(words)
    usage = capsys.readouterr().out
    assert all(f"  {verb} " in usage for verb in cli.VERBS)


def test_the_module_runs_and_knows_its_version():
    words = [sys.executable, "-m", "pbrl.cli", "--version"]
    assert subprocess.check_output(words, text=True) == f"pbrl {pbrl.__version__}\n"


def test_a_warning_is_one_line(verb, capsys):
    verb.main = lambda words: warnings.warn("no video: install x", RuntimeWarning, stacklevel=1)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *details: sys.stderr.write(
            warnings.formatwarning(*details[:4])
        )
        cli.main(["plot"])
    assert capsys.readouterr().err == "RuntimeWarning: no video: install x\n"


def test_a_reader_that_has_had_enough_is_no_error():
    words = "import sys; from pbrl.cli import main; main(['plot', '--help'])"
    program = subprocess.Popen(
        [sys.executable, "-c", words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    assert program.stderr.read() == b""
    assert program.wait() == 141


OF_ANOTHER_FOLDER = """
import sys, types
from pbrl import cli
verb = types.ModuleType("pbrl.commands.plot")
verb.main = lambda words: __import__(words[0]).greet()
sys.modules["pbrl.commands.plot"] = verb
cli.main(["plot", "own_module"])
"""


@pytest.mark.parametrize(("flags", "is_found"), [([], True), (["-P"], False)])
def test_modules_of_the_working_directory_are_found(tmp_path, flags, is_found):
    """As with the installed command, whose program lies elsewhere."""
    program, here = tmp_path / "bin" / "program.py", tmp_path / "here"
    program.parent.mkdir()
    program.write_text(OF_ANOTHER_FOLDER)
    here.mkdir()
    (here / "own_module.py").write_text("def greet():\n    print('found')\n")
    (here / "signal.py").write_text("raise RuntimeError('not the one of Python')\n")
    words = [sys.executable, *flags, str(program)]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    assert (done.stdout == "found\n") is is_found
    assert "not the one of Python" not in done.stderr
