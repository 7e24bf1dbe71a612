"""Damages of saved arrays: what a full disk, a bad one, or a hand can do to a checkpoint."""


def flip(data):
    data[len(data) // 2] ^= 1
    return data


DAMAGES = {"truncate": lambda data: data[: len(data) // 2], "empty": lambda data: b"", "flip": flip}


def damage_arrays(folder, change):
    """Change every file that holds arrays (Orbax keeps copies that it does not read back)."""
    files = [file for file in folder.rglob("d/*") if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(change(bytearray(file.read_bytes())))
