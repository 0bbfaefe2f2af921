"""Face forgery: blending, face swapping, resynthesis networks for the lower and the whole face, and their training."""
