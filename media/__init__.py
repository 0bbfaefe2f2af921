"""Files to arrays and back: decoding, faces, mouths, speech features."""
