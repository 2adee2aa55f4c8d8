"""Spot capacity and prices."""
