"""Pure functions of labels and scores: ranking quality, operating points, calibration, intervals."""
