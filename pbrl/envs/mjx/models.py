"""Models of the suite, from the files of the installed dm_control."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from pbrl.envs.dmc import load_suite
from pbrl.envs.opengl import mujoco


@dataclass(frozen=True)
class FrameSensor:
    """A sensor added to a model because a task reads where a body is.

    Attributes:
        kind: `framepos` or `framezaxis`.
        body: name of the body.
        is_inertial: whether its frame is the one in its centre of mass.
    """

    kind: str
    body: str
    is_inertial: bool = False

    @property
    def name(self) -> str:
        """Name of the sensor in the model."""
        return f"{self.body}_{self.kind}"


def suite_module(domain: str) -> Any:
    """Return the module of a domain of the suite."""
    return importlib.import_module(f"{load_suite().__name__}.{domain}")


def load_model(domain: str, sensors: Sequence[FrameSensor] = ()) -> mujoco.MjModel:
    """Return the model of a domain with further sensors."""
    xml, assets = suite_module(domain).get_model_and_assets()
    return compile_model(xml, assets, sensors)


def compile_model(
    xml: str | bytes, assets: dict[str, Any], sensors: Sequence[FrameSensor]
) -> mujoco.MjModel:
    """Return a compiled model with further sensors.

    A simulation that diverges keeps its broken numbers, instead of starting anew unnoticed.

    Args:
        xml: the model.
        assets: files that it includes.
        sensors: what to add.
    """
    root = ElementTree.fromstring(xml)
    parent = root.find("sensor")
    if parent is None:
        parent = ElementTree.SubElement(root, "sensor")
    for sensor in sensors:
        kind = "body" if sensor.is_inertial else "xbody"
        ElementTree.SubElement(
            parent, sensor.kind, name=sensor.name, objtype=kind, objname=sensor.body
        )
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, "unicode"), assets)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    return model
