"""The only room that imports kubernetes_asyncio: keeps caches of the cluster, builds observations, performs commands."""
