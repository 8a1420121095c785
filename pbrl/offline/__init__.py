"""Offline data: datasets, stored labels and collection."""
