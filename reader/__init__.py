"""Any table of tweets: read, checked row by row, whatever its form."""
