"""What the field would know without Ray: images, networks, features, affine maps, losses. Nothing here imports ray."""
