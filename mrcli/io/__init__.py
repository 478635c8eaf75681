"""Readers of k-space containers and writers of images."""
