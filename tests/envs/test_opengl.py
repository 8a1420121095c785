import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from pbrl import envs
from pbrl.envs import opengl


def make(env_id):
    return envs.make(env_id, backend="official", frame_size=(60, 80))


@pytest.fixture
def _forgotten_choice(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("DISPLAY", raising=False)
    opengl.gl_module.cache_clear()
    yield
    opengl.gl_module.cache_clear()


@pytest.mark.usefixtures("_forgotten_choice")
def test_a_missing_library_is_named_and_steps_go_on(monkeypatch):
    monkeypatch.setattr(opengl, "probe", lambda name: f"lib{name} not found")
    env = make("dmc/walker-walk")
    env.reset()
    with pytest.raises(envs.RenderingUnavailable) as caught:
        env.render()
    for part in ("libosmesa6", "libegl1", "libegl not found", "Everything else works"):
        assert part in str(caught.value)
    env.step(np.zeros((1, 6)))


@pytest.mark.usefixtures("_forgotten_choice")
@pytest.mark.parametrize(
    ("display", "working", "chosen"),
    [
        (None, {"egl", "osmesa"}, "mujoco.egl"),
        (None, {"osmesa", "glfw"}, "mujoco.osmesa"),
        (":0", {"glfw"}, "mujoco.glfw"),
    ],
)
def test_the_first_library_that_works_is_chosen(monkeypatch, display, working, chosen):
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(opengl, "probe", lambda name: None if name in working else "no")
    assert opengl.gl_module() == chosen


@pytest.mark.usefixtures("_forgotten_choice")
def test_mujoco_gl_decides_where_it_is_set(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    tried = []
    monkeypatch.setattr(opengl, "probe", lambda name: tried.append(name))
    assert opengl.gl_module() == "mujoco.osmesa"
    assert tried == ["osmesa"]


def test_a_probe_says_why_a_platform_does_not_work():
    assert "No module named" in opengl.probe("no_such_platform")


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere GLFW needs no display")
def test_glfw_without_a_display_does_not_work(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert opengl.probe("glfw") is not None


def test_a_program_that_never_draws_never_loads_opengl():
    program = (
        "import sys; from pbrl import envs;"
        "env = envs.make('gym/Hopper-v5', backend='official'); env.reset();"
        "env.step(env.action_space.sample());"
        "sys.exit('OpenGL' in sys.modules)"
    )
    environment = {**os.environ, "MUJOCO_GL": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert done.returncode == 0


def test_a_program_that_draws_ends_quietly():
    program = (
        "from pbrl import envs;"
        "env = envs.make('gym/Hopper-v5', backend='official'); env.reset(); env.render()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


# Stands for a machine without OSMesa: loading the library fails as it does there.
WITHOUT_OSMESA = """
import ctypes, ctypes.util
find_library, CDLL = ctypes.util.find_library, ctypes.CDLL
ctypes.util.find_library = lambda name: None if "OSMesa" in name else find_library(name)

class Library(CDLL):
    def __init__(self, name, *args, **kwargs):
        if name and "OSMesa" in str(name):
            raise OSError("cannot open shared object file")
        super().__init__(name, *args, **kwargs)

ctypes.CDLL, ctypes.cdll = Library, ctypes.LibraryLoader(Library)
from pbrl import envs
for env_id in ("gym/Hopper-v5", "dmc/walker-walk", "metaworld/reach-v3"):
    env = envs.make(env_id, backend="official")
    env.reset()
    env.step(env.action_space.sample())
try:
    env.render()
except envs.RenderingUnavailable as error:
    print(error)
"""


def test_a_missing_library_that_mujoco_gl_names_stops_the_pictures_only():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OSMESA],
        env={**os.environ, "MUJOCO_GL": "osmesa"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "MUJOCO_GL asks for what is missing: osmesa" in done.stdout
    assert "libosmesa6" in done.stdout


def test_a_word_that_mujoco_gl_does_not_know_stops_the_pictures_only():
    program = WITHOUT_OSMESA.partition("from pbrl import envs")
    done = subprocess.run(
        [sys.executable, "-c", "".join(program[1:])],
        env={**os.environ, "MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "MUJOCO_GL asks for what is missing: nonsense" in done.stdout
