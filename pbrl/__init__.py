"""Preference-based reinforcement learning for classic control and robotics."""

__version__ = "0.1.0"
__all__ = ["__version__"]
