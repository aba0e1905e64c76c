"""Administration of other nodes: installs packages on them, lists what they run, and hears which are drained."""
