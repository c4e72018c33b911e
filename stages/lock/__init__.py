"""An int8 network -> the locked model, adapted to an event if there are labels of it."""
