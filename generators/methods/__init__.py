"""What all forgery methods share: base class, source clips with their face tracks, word times, matching to the source."""
