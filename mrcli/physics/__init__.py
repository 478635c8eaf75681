"""Physics of Cartesian MRI in torch: knows no file, no model, no command."""
