"""Faces in video: landmark detection, tracking, the speaking face, head pose, mouth and face crops."""
