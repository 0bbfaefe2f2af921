"""Writers of the sections of docs/RESULTS.md: tables, plots and contact sheets of detection, generation, recognition and forging."""
