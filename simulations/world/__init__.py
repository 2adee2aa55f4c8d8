"""The replay's Kubernetes: Deployments, pods and nodes as far as an autoscaler can tell."""
