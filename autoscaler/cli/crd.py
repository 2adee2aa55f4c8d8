"""`autoscaler crd`: the CustomResourceDefinition of InferenceAutoscaler."""

from __future__ import annotations

import click


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinition, made from what validates files."""
    from autoscaler.settings.crd import crd_text

    click.echo(crd_text(), nl=False)
