"""Shards: preprocessed sequences as memory-mapped NumPy files; `format` says what a folder holds."""

from stfer.data.shards.from_arrays import write_shards
from stfer.data.shards.reader import SetsDifferError, Shards, load_data, load_shards
from stfer.data.shards.writer import ShardWriter

__all__ = ["SetsDifferError", "ShardWriter", "Shards", "load_data", "load_shards", "write_shards"]
