"""What the core knows: data, and the steps that keep each whole. What is decided stands above, in its other files."""
