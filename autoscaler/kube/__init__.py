"""The only room that imports kubernetes_asyncio: reads the cluster into levels, writes commands."""
