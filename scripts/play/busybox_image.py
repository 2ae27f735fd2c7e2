"""A worker image with just Debian's static busybox, made through the Engine API without a
registry."""

import io
import tarfile

from plancton.docker.client import Docker


def import_busybox(docker: Docker, name: str, tag: str) -> str:
    """Import it as name:tag; the image's id. Needs /bin/busybox from the package busybox-static."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for applet in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return docker.import_image(data.getvalue(), name, tag)
