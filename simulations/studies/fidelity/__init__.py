"""Is the serving model right? Fitted on recorded runs of a real vLLM, it predicts other runs."""
