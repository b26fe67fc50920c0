"""EPICS pvAccess channels of NTNDArray."""
