"""Sessions of resumable channels (`docs/resume.md`): what outlives a socket. Pure: bytes and counts in, frames out."""
