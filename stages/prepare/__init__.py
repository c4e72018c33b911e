"""Any table of tweets -> three splits without duplicates."""
