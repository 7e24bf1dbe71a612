"""Readers of data sets as their owners lay them out: sequences of frames with labels and subjects."""
