"""Makes what the project needs on Google Cloud, says what is there, and takes it down."""
