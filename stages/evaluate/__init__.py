"""The locked model -> metrics, plots and the model card."""
