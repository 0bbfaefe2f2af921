"""The four motion models (FONT, OPT, OSM-Net, MFR-Net), their common base class, and speaker-listener pairs."""
