"""What tests of nodes in a cluster share: nodes and servers, ways between them that fail, traffic, and its checker."""
