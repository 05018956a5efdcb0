"""Maps on a cluster: Ray Train for Adam, rows streamed by Ray Data, distributed sums for closed forms."""
