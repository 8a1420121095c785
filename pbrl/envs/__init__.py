"""Environments: one vector interface to Gymnasium, the DeepMind Control Suite and Meta-World."""

from pbrl.envs.checks import EnvironmentFault, final_observations
from pbrl.envs.opengl import RenderingUnavailable
from pbrl.envs.pixels import PixelConfig
from pbrl.envs.record import EnvRecord
from pbrl.envs.recording import RecordSegments
from pbrl.envs.registry import list_ids, make, parse_id
from pbrl.envs.tensors import TensorVectorEnv
from pbrl.envs.vector import SerialVectorEnv

__all__ = [
    "EnvRecord",
    "EnvironmentFault",
    "PixelConfig",
    "RecordSegments",
    "RenderingUnavailable",
    "SerialVectorEnv",
    "TensorVectorEnv",
    "final_observations",
    "list_ids",
    "make",
    "parse_id",
]
