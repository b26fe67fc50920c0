"""The command line, which alone knows those who move data and those who compute."""
