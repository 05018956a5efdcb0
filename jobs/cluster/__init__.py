"""What every command needs of Ray and of the command line: arguments, Ray's start, capacity, exit codes."""
