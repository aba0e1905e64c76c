"""`[cluster]`: the other nodes, and the way to them."""

from __future__ import annotations

from msgspec import Struct


class ClusterSettings(Struct, frozen=True):
    """`[cluster]`: by which NATS servers the node reaches the others of its cluster."""

    nats: tuple[str, ...] = ()
    """URLs of NATS servers, such as `nats://10.0.0.1:4222`; none: the node is alone."""
    name: str | None = None
    """What people call the cluster."""
    install_from: tuple[str, ...] = ()
    """Nodes of the cluster whose operators may install packages on this one."""
    gateways_from: tuple[str, ...] = ("*",)
    """Nodes of the cluster whose clients may open channels to this one's processes; `*`: all."""
    serve: tuple[str, ...] = ()
    """Nodes whose processes clients reach by this one, `NODE` or `NODE@PACKAGE:PUBLISHER`, besides those of
    `install_from`; `*` is each node.
    """
    credentials: str | None = None
    """A file by which NATS knows the node: a `.creds` file, or a line `user:password` or `token`."""
    tls_ca: str | None = None
    """Certificates in PEM of who vouches for the NATS servers; None: those of the system."""
    tls_cert: str | None = None
    """The node's certificate for NATS servers that ask for one, with its chain, in PEM."""
    tls_key: str | None = None
    """The certificate's private key, in PEM."""
