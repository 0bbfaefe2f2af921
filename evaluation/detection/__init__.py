"""The section on detection of the results: what a detector does on forged dev clips and on clips of unknown make."""
