"""What the daemon shows of itself: metrics, pages, log lines."""
