"""Export of generated videos: ``avwitness generate``, the marks every file carries (badge, C2PA manifest, sidecar), sample files."""
