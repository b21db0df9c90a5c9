"""Highway networks, beside other deep feed-forward nets."""
