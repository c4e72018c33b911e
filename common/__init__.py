"""What every package uses and no result depends on."""
