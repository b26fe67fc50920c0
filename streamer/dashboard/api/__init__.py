"""What programs are told of runs over HTTP, as JSON."""
