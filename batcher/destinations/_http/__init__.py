"""What the destinations that speak HTTP share."""
