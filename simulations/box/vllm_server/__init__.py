"""A stand-in for a vLLM pod: a real HTTP server on the serving model, in real time.

`python -m simulations.box.vllm_server` takes vLLM's own flags where they matter here. It answers what
clients, probes and scrapers ask of vLLM 0.32, and it ends as vLLM does, with its lies: a drain that
gives streaming clients empty answers, an abort that may leave them hanging.
"""
