"""Programs: compiled apart from the first call, and room made for each call on a CPU."""

import jax
import jax.numpy as jnp
import pytest

from stfer.storage import freed_memory
from stfer.training.programs import Program


@pytest.fixture
def asked(monkeypatch):
    """What the memory is asked for, in order."""
    calls = []
    monkeypatch.setattr(freed_memory, "give_back", lambda: calls.append("given back"))
    monkeypatch.setattr(freed_memory, "make_room", calls.append)
    return calls


def scaled(x):
    return jnp.sort(x @ x.T, axis=0)[:2]  # The product needs scratch memory.


def test_a_program_compiles_once_and_has_room_made(asked):
    program = Program(jax.jit(scaled))
    x = jnp.arange(64.0 * 8).reshape(64, 8)
    scratch = jax.jit(scaled).lower(x).compile().memory_analysis().temp_size_in_bytes
    assert scratch >= 64 * 64 * 4
    for _ in range(3):
        assert jnp.array_equal(program(x), scaled(x))
    assert asked == ["given back", scratch, scratch, scratch]
    assert program.jitted._cache_size() == 1


def test_elsewhere_it_is_the_function_alone(asked, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        program = Program(jax.jit(scaled))
    program(jnp.ones((64, 8)))
    assert asked == []
