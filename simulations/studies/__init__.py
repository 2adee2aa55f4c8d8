"""Is it right, is it good, what does it cost: fidelity, scoreboard, benchmark."""
