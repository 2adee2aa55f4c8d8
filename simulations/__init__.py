"""Replays: the production engine and its peers over recorded traffic, without a cluster."""
