"""The table of a split's images, made on a cluster: sources are listed, images are mixed, and ids are compared."""
