"""Image quality and consistency with the measured samples."""
