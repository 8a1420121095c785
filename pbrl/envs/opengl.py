"""OpenGL: which library draws, and how to do without one.

MuJoCo is imported here, so that a missing OpenGL library costs the pictures and nothing else:
where `MUJOCO_GL` names a library that is not there, `import mujoco` would fail.
"""

import functools
import importlib
import os
import platform
import subprocess
import sys

__all__ = ["WITHOUT_VIDEO", "RenderingUnavailable", "gl_module", "mujoco", "probe"]

PROBE_SECONDS = 60
# A context alone is no proof: GLFW without a display warns and makes none.
PROBE = (
    "import mujoco; from mujoco.{name} import GLContext; c = GLContext(8, 8); c.make_current(); "
    "model = mujoco.MjModel.from_xml_string('<mujoco/>'); "
    "mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100).free(); c.free()"
)
WITHOUT_VIDEO = "Everything else works without it."
ADVICE = (
    "On Debian or Ubuntu install libosmesa6 (renders without a GPU) or libegl1 (with one). "
    + WITHOUT_VIDEO
)

_import_failure: str | None = None
try:
    import mujoco
except (AttributeError, ImportError, OSError, RuntimeError) as error:  # each of them occurs
    if not os.environ.get("MUJOCO_GL"):
        raise
    _import_failure = f"{os.environ['MUJOCO_GL']} ({error})"
    os.environ["MUJOCO_GL"] = "disabled"  # dm_control would fail likewise
    mujoco = importlib.import_module("mujoco")


class RenderingUnavailable(RuntimeError):
    """Frames cannot be made here; everything else works."""


@functools.cache
def gl_module() -> str:
    """Return the module of an OpenGL context that works on this machine.

    `MUJOCO_GL` decides where it is set. Otherwise EGL is tried, then OSMesa, then, with a display,
    GLFW, each in a process of its own, since a failed attempt cannot be undone.

    Raises:
        RenderingUnavailable: if none works, naming the system package to install.
    """
    if platform.system() != "Linux":
        return "mujoco.gl_context"
    if _import_failure is not None:
        raise RenderingUnavailable(
            f"MUJOCO_GL asks for what is missing: {_import_failure}. {ADVICE}"
        )
    requested = os.environ.get("MUJOCO_GL", "").lower()
    candidates = (requested,) if requested in ("egl", "osmesa", "glfw") else ("egl", "osmesa")
    if not requested and os.environ.get("DISPLAY"):
        candidates = (*candidates, "glfw")
    failures = {}
    for name in candidates:
        failure = probe(name)
        if failure is None:
            os.environ["MUJOCO_GL"] = name  # other renderers of this process agree
            return f"mujoco.{name}"
        failures[name] = failure
    raise RenderingUnavailable(f"no OpenGL library works here: {failures}. {ADVICE}")


def probe(name: str) -> str | None:
    """Return why the OpenGL platform `name` does not work here, or None if it does."""
    environment = {**os.environ, "MUJOCO_GL": "disabled"}
    try:
        done = subprocess.run(  # noqa: S603  a constant program
            [sys.executable, "-c", PROBE.format(name=name)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
