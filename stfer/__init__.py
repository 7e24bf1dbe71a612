"""Spatio-temporal facial expression recognition: six ways of giving a convolutional network time.

After Salinas Ventalló, *Spatio-Temporal Emotion Recognition*. The rooms are `stfer.models`, `stfer.data`,
`stfer.training`, `stfer.evaluation`, `stfer.reporting` and `stfer.inference`; the commands are in `experiments`.
"""

__version__ = "0.1.0"
