"""Machines and what runs on them: kubelets, pods as processes, probes."""
