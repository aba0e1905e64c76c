"""What commands show and complete on a terminal."""
