"""Images to feature tables on a cluster: decoding tasks, network actors, table parts, and the tally."""
