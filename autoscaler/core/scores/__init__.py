"""Scores: how good decisions turned out to be, one figure a file.

Each is a small state with an `observe`, called once a tick after the decision, and by the replay with what
truly was, for whoever decided there. They take plain numbers and know of no policy, pool or guard. Nothing
that decides reads them.
"""
