"""Data: readers of image sequences, faces, preprocessing, shards and clips. It never imports JAX."""
