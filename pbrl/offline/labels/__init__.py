"""Stored labels: importers that convert to P(second preferred) at the door, export and report."""
