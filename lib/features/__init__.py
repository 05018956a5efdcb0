"""From pixels to features, and the feature tables: their schemas, and reading them whole or in chunks."""
