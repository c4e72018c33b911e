"""How far a model's probabilities are wrong on events that its training data does not contain.

On such an event the ranking of tweets stays right, but the true log-odds are the model's log-odds
times a scale plus a shift, which differ between events. Both standard deviations were measured on
the six events of CrisisLexT6, each held out once. They are constants because they cannot be
measured on training data without events.
"""

SCALE_SPREAD = 0.5  # standard deviation of the scale's logarithm, around 0
SHIFT_SPREAD = 1.5  # standard deviation of the shift of the log-odds, around 0
