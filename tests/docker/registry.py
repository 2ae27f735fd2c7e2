"""A real registry for tests: Debian's docker-registry on loopback, with or without passwords."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path

import bcrypt
import yaml
from docker.harness import Engine, wait_for

USER, PASSWORD = "donor", "s3cret-of-the-registry"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Registry:
    """One registry; it keeps its images while it is stopped."""

    def __init__(self, program: Path, directory: Path, password: bool) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.directory = directory
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(directory / "registry")}},
            "http": {"addr": self.address},
        }
        if password:
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
            (directory / "htpasswd").write_text(f"{USER}:{hashed}\n")
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
        (directory / "registry.yml").write_text(yaml.safe_dump(settings))
        self._command = [str(program), "serve", str(directory / "registry.yml")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("the registry listens", self._listens)

    def _listens(self) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def digest(self, name: str, tag: str) -> str:
        """The registry's permanent name for this version."""
        return self._manifest(name, tag)[1]

    def _manifest(self, name: str, tag: str) -> tuple[str, str, bytes]:
        """The type, digest and content of what the tag means."""
        kinds = ("docker.distribution.manifest.v2", "oci.image.manifest.v1", "oci.image.index.v1")
        accepted = ", ".join(f"application/vnd.{kind}+json" for kind in kinds)
        path = f"/v2/{name}/manifests/{tag}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path, headers={"Accept": accepted})
            answer = connection.getresponse()
            manifest = answer.read()
            assert answer.status == 200, manifest
            return answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"], manifest

    def index(self, name: str, tag: str, platforms: dict[str, str]) -> str:
        """Give this tag to an index of images, for each architecture the one that has this tag;
        its digest."""
        manifests = []
        for architecture, of in platforms.items():
            kind, digest, manifest = self._manifest(name, of)
            entry = {"mediaType": kind, "digest": digest, "size": len(manifest)}
            manifests.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests})
        return self._put(name, tag, kind, body.encode())

    def tag(self, name: str, tag: str, of: str) -> None:
        """Give this tag to the image that has the tag ``of``."""
        kind, _, manifest = self._manifest(name, of)
        self._put(name, tag, kind, manifest)

    def _put(self, name: str, tag: str, kind: str, manifest: bytes) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("PUT", f"/v2/{name}/manifests/{tag}", manifest, {"Content-Type": kind})
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
            return str(answer.headers["Docker-Content-Digest"])

    def push(self, engine: Engine, name: str, label: str, platform: str = "") -> str:
        """Push an image that this dockerd then has neither by id nor by name; its id."""
        whole = f"{self.address}/{name}"
        with suppress(Exception):
            engine.call("DELETE", f"/images/{whole}?noprune=1")
        made = engine.import_image(whole, label=label, platform=platform)
        credentials = self.directory / "docker"
        docker = ["docker", "--config", str(credentials), "--host", f"unix://{engine.socket}"]
        login = [*docker, "login", "--username", USER, "--password-stdin", self.address]
        subprocess.run(login, input=PASSWORD.encode(), capture_output=True, check=True)
        subprocess.run([*docker, "push", whole], capture_output=True, check=True, timeout=60)
        engine.call("DELETE", f"/images/{made}?force=1")
        shutil.rmtree(credentials)
        return made


class Cutter:
    """A proxy to the registry that cuts all connections after this many bytes from there; None:
    never."""

    def __init__(self, registry: Registry, most: int | None) -> None:
        self.registry, self.most, self.cuts = registry, most, 0
        self._passed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.registry.port)) as server:
            up = threading.Thread(target=self._copy, args=(client, server), daemon=True)
            up.start()
            self._copy(server, client, back=True)
            up.join()

    def _copy(self, source: socket.socket, target: socket.socket, back: bool = False) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._passed += len(data) if back else 0
                if back and self.most is not None and self._passed > self.most:
                    self.cuts += 1
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def random_label(size: int) -> str:
    """Text that makes an image's layer about this large."""
    return os.urandom(size // 2).hex()
