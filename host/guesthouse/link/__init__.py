"""What node and worker say to each other, and how it is framed."""
