"""Training of the classifiers of single streams on statistics of pretrained encoders."""
