"""An inference-aware autoscaler for vLLM on Kubernetes."""

__version__ = "0.1.0"
