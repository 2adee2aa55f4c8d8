"""The found schedule: the cheapest of many that know the whole trace, replayed like everybody."""
