"""Creates, lists and removes the resources that the project needs on Google Cloud."""
