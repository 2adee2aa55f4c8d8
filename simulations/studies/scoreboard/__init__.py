"""The scoreboard: every policy on every trace of `scoreboard.toml`, written to `SCOREBOARD.md`."""
