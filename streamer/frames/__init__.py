"""What a frame is: its pixels and their codings, its geometry, what is known of it."""
