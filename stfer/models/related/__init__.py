"""The systems of the paper's section III, one file each, for comparison on the same shards and folds.

Each file's docstring has the layer table and says of every number where it comes from: (published), from the original
paper; (authors' code); (recalled), told of the paper by others or from memory, not checked; (our choice), where
nothing was found. [n] is the paper's numbering.
"""
