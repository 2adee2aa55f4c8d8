"""The shell around the engine: its clock, inbox, loop, actuator, recorder, and what it shows of itself.

Everything that waits, retries, logs, writes or reads a clock on the engine's behalf is here or below;
what is decided is decided in `core`. `app` puts the parts together.
"""
