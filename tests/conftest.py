"""Shared test set-up: four forced CPU devices, cheap compilation, strict shapes, no use of the user's cache folder."""

import gc
import os

import programs

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # The test processes fill the cores.
if programs.BEGAN_HERE:
    # All processes of one test run compile a program once, and the next run reads it: a program's name tells the
    # libraries' versions, the flags and all that was compiled.
    os.environ["STFER_TESTS_XLA"] = programs.folder()
    if os.environ["JAX_PLATFORMS"] == "cpu":
        # Programs are compiled much more often than they are run here.
        quick = "--xla_backend_optimization_level=0"
        os.environ["XLA_FLAGS"] = f"{quick} {os.environ.get('XLA_FLAGS', '')}".strip()
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["STFER_TESTS_XLA"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes on one GPU

import pytest

import fork_server


def pytest_configure(config):
    """Set JAX up, in every process that runs tests itself."""
    is_worker = hasattr(config, "workerinput")
    if getattr(config.option, "numprocesses", None) and not is_worker:
        return
    if is_worker:
        fork_server.start()  # While it can be forked from this process.
    import jax

    import properties

    fork_server.calm_collector()

    properties.set_up(quick=config.option.markexpr == "not slow")

    jax.config.update("jax_default_matmul_precision", "highest")  # Else TensorFloat-32 on a GPU.
    jax.config.update("jax_numpy_rank_promotion", "raise")
    if os.environ["JAX_PLATFORMS"] == "cpu":
        jax.config.update("jax_num_cpu_devices", 4)


def pytest_sessionfinish(exitstatus):
    """Leave the compiled programs to the next run, when this one was neither stopped nor broken."""
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if ended and programs.BEGAN_HERE:
        programs.keep(os.environ["STFER_TESTS_XLA"])


MAPS = 30_000  # of memory; Linux gives a process 65,530 by default, a compiled program takes six and more


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Let go of compiled programs before the process has no memory maps left: the compiler would crash."""
    yield
    try:
        with open("/proc/self/maps", "rb") as maps:
            count = sum(1 for _ in maps)
    except OSError:
        return  # Not Linux.
    if count > MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory, monkeypatch):
    """Point the cache folder into pytest's temporary folder, so that no test reads a user's files."""
    monkeypatch.setenv("STFER_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
