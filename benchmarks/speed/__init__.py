"""Sections of `speed_online.py`, one file each."""
