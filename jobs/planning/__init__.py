"""What a run would do, from the files that there are, without doing any of it."""
