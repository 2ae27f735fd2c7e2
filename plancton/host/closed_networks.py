"""Networks that workers do not reach: the metadata of clouds, and on request all that is not the internet."""

LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
METADATA = (*LINK_LOCAL, "fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32")
"""Where clouds answer any program on the host: all have 169.254.169.254; then AWS, Google, Alibaba, Azure."""
PRIVATE = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "::/8", "fc00::/7", "fec0::/10", "ff00::/8"),
)
"""What is not the internet: https://www.iana.org/assignments/iana-ipv4-special-registry and
iana-ipv6-special-registry."""
