"""Files that are whole or not there: write and rename, locks, journals, weights with checksums."""
