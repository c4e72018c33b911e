"""How wrong a model's probabilities can be in a world that its training data did not show.

On an unseen event the ranking of tweets carries over, the probabilities do not: the true log-odds
are the model's times a scale plus a shift. Over the six events of CrisisLexT6 (each held out once)
the scale's logarithm and the shift spread about as much as these two standard deviations. They are
constants because a training corpus without events cannot tell its own.
"""

SCALE_SPREAD = 0.5  # standard deviation of the scale's logarithm, around 0
SHIFT_SPREAD = 1.5  # standard deviation of the shift of the log-odds, around 0
