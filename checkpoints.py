"""Where weights lie: bundled ones by name, others by folder."""
