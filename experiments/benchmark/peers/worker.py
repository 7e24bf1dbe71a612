"""The protocol between the benchmark and a contender: one JSON object a line on standard input and output.

Standard library only, and Python 3.10 or later, since a contender may live in another interpreter. A contender is an
object with the methods `build(settings)`, which returns the number of trainable parameters, `about()`, which returns
library and device in words, `forward()`, `step()` and
`loop(steps)`, which return when the work is done, `matrix_product()`, which returns floating-point operations a
second, and `device_memory()`, the peak in bytes or None.
"""

import json
import os
import resource
import sys
import time
import traceback

BYTES_PER_KIB = 1024
FRAMES = {
    "single_frame": 1,
    "early_fusion": 10,
    "late_fusion": 2,
    "slow_fusion": 10,
    "conv3d": 5,
    "rnn": 5,
}
"""The clip length of each architecture, for peers whose interpreter has no stfer."""


def serve(contender: object) -> None:
    """Answer requests until the input ends. What libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(contender, request)
        except Exception as error:  # the benchmark reports it and goes on without this contender
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0:1]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(contender: object, request: dict) -> dict:
    what = request["what"]
    if what == "build":
        return {"parameters": contender.build(request["settings"]), "about": contender.about()}
    if what == "memory":
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_KIB
        return {"resident": resident, "device": contender.device_memory()}
    if what == "matrix_product":
        return {"rate": contender.matrix_product()}
    steps = request.get("steps", 1)
    start, start_cpu = time.perf_counter(), time.process_time()
    if what == "loop":
        contender.loop(steps)
    else:
        getattr(contender, what)()
    return {
        "seconds": (time.perf_counter() - start) / steps,
        "cpu_seconds": (time.process_time() - start_cpu) / steps,
    }


def matrix_product_rate(multiply, size: int, repeats: int = 5) -> float:
    """The best rate of `multiply()`, a product of two size x size matrices, in operations a second."""
    multiply()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
