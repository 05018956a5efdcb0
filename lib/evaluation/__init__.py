"""From predictions to results: losses and their tests, overlap regions, agreement, likeness of features."""
