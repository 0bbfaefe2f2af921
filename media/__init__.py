"""Files to arrays and back: decoding, encoding, face tracking, crops, speech features, process pool."""
