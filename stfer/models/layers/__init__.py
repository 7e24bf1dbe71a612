"""Layers that the architectures are made of."""
