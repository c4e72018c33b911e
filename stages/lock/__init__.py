"""An int8 network -> the locked model, adapted to an event where there are labels of it."""
