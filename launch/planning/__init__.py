"""What a run will need on a TPU, found by compiling its programs: chips, compiled programs, collectives, roofline."""
