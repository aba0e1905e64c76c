"""What `guesthouse doctor` looks at. Nothing here changes anything."""
