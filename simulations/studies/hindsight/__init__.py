"""How far hindsight while running is from the replay of the same traffic under the rules themselves.

`python -m simulations.studies.hindsight TRACE... [--objective TEXT] [--cold-start NAME] [-o table|json]`
"""
