"""What `experiments.benchmark --what=gpu` leaves behind, written by hand."""


def figures():
    """Round numbers: an architecture measured in float32, one training, one failed part."""

    def contender(step, forward):
        return {
            "step": {"median_seconds": step},
            "forward": {"median_seconds": forward},
            "loop": {"median_seconds": step},
            "memory": {"device": 3e9, "resident": 1},
        }

    measured = {
        "contenders": {"ours": contender(0.01, 0.004), "torch_eager": contender(0.02, 0.005)},
        "absent": {"torch_compiled": "no compiler"},
        "matrix_product_rate": 1e13,
    }
    results = {
        "device": {"device": "a card"},
        "tests": {"counts": {"passed": 30, "failed": 1}, "failed": ["FAILED one"]},
        "networks:rnn": {
            "operations": {"training": 5e10, "forward": 2e10},
            "precisions": {"float32": measured},
        },
        "subject:rnn": {"float32": {"seconds_a_subject": 4.0}, "bfloat16": {"absent": "no memory"}},
        "folds:rnn": {
            "1": {"seconds_a_subject": 4.0},
            "4": {"not_measured": "too short", "memory": {}},
            "8": {"seconds_a_subject": 1.5},
        },
    }
    made = {name: {"result": result} for name, result in results.items()}
    made["accuracy"] = {"error": "no set"}
    settings = {"batch_size": 32, "size": 170, "epochs": 5, "tiny": False}
    return {"settings": settings, "parts": made}
