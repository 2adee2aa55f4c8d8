"""The pure core: events in, decisions and commands out.

Standard library and numpy only. No I/O, no clock, no logging, no global randomness; time is an
argument. `engine.Engine.handle` is the one door.
"""
