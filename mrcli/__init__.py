"""mrcli: check, reconstruct and score undersampled cardiac MRI k-space."""

__version__ = "0.1.0"
