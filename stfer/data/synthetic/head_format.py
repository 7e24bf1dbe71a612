"""What `head.npz` means: names of the mesh's parts, and the window of its texture square that is kept."""

PARTS = ("skin", "torso", "mouth", "socket", "upper_teeth", "lower_teeth", "tongue", "hair")

ATLAS = 1280  # Texels that the whole UV square would have.
HEAD_UV = (0.635, 0.17, 1.0, 0.86)  # left, top, right, bottom of the head's island, v downwards.
