"""Destinations to copy: batch endpoints of four forms, each in a page. The tests beside them run them."""
