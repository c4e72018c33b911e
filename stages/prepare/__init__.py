"""The prepare stage: any table of tweets -> three splits without duplicates."""
