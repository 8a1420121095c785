"""Sections of `speed_online.py` and `speed_offline.py`, one file each."""
