"""Where replicas go: the order of pools, placement, promises, the GPU budget."""
