"""Streams depend on the seed and their name alone."""

import subprocess
import sys

import pytest

from simulations.rng import stream

CODE = "from simulations.rng import stream; print(stream(7, 'cold-start').integers(2**62, size=3))"


def test_a_name_and_a_seed_are_a_stream():
    draws = [stream(7, "cold-start").integers(2**62, size=3).tolist() for _ in range(2)]
    assert draws[0] == draws[1]
    assert draws[0] != stream(8, "cold-start").integers(2**62, size=3).tolist()
    assert draws[0] != stream(7, "spot").integers(2**62, size=3).tolist()


@pytest.mark.slow
def test_a_stream_does_not_depend_on_the_hash_seed():
    printed = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
