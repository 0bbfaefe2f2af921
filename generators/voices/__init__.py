"""Voice forgery: copy-synthesis by vocoders, text to speech, fitting of synthetic speech to a clip, vocoder training."""
