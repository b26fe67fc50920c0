"""A run as process variables of EPICS, over PVAccess."""
