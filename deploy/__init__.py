"""What Google Cloud needs: configuration, and a look at what is set up."""
