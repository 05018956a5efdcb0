"""How alike features are: measures of two networks at a time, over the cluster."""
