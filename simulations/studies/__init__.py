"""Is it right, is it good, what does it cost, is what it says of others right: fidelity, scoreboard, benchmark, hindsight."""
