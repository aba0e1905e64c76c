"""Files on disks that may be full."""
