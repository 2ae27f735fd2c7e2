"""Starts workers: what each is made of, and what Docker says to it."""

from functools import partial
from time import CLOCK_BOOTTIME, clock_gettime, time
from typing import Any

from plancton.config.resolve import digest
from plancton.config.schema import Config
from plancton.config.security import SecurityError, read_profiles
from plancton.daemon.context import Context
from plancton.daemon.reconciler import Reconciler
from plancton.daemon.removals import Removals
from plancton.docker.errors import DockerError, NotFound
from plancton.docker.replies import Container
from plancton.docker.request_queue import Queued
from plancton.errors import PlanctonError
from plancton.model import Phase, Settings, Worker, full_shares
from plancton.policy.lifetime import lifetime_of
from plancton.workers.container import UNTIL, create_body, new_name, promised
from plancton.workers.docker_calls import Unstarted, start_worker
from plancton.workers.network import wanted_network
from plancton.workers.token import TokenError, expiry, pack, read_token
from plancton.workers.users import user_of, with_user


class Starter:
    """Only the loop calls it."""

    def __init__(self, context: Context, reconciler: Reconciler, removals: Removals) -> None:
        self._context, self._roster = context, context.roster
        self._reconciler, self._removals = reconciler, removals
        self._starts: dict[str, Queued] = {}
        self._lost_image = ""
        self.token_expires: float | None = None
        """When the last worker's token does (Unix time), as far as that is known."""

    def start(self, config: Config, image: str, newest: str, settings: Settings, disk: int | None) -> None:
        """Start one; ``disk``: see `Start`. It is made from the ``newest`` id that Docker has for the
        ``image``."""
        name = new_name()
        made_of = digest(config)
        worker = Worker(
            name,
            cpus=settings.worker_cpus,
            memory=settings.worker_memory,
            shares=full_shares(config.worker.cpus),
            image=image,
            digest=made_of,
            jobs=() if config.htcondor else None,
        )
        context = self._context
        around = context.around(config)
        config = with_user(config, around.own_user, self._roster.users)
        self._roster.request(worker, clock_gettime(CLOCK_BOOTTIME), user_of(config.worker))
        context.say(f"starting {name}")
        network = wanted_network(config, context.instance)
        place = (context.instance, context.slice.parent, network.mode)
        try:
            profiles = read_profiles(config.worker.security_options)
            body = create_body(name, config, image, made_of, *place, profiles, around)
            body["Image"] = newest
            files = self._files(config)
            if config.htcondor:
                self._promise(name, body, settings, disk)
        except (SecurityError, TokenError) as error:
            self._not_started(name, error)
            return
        made = context.on_network
        start = partial(start_worker, name=name, body=body, files=files, network=network, network_made=made)
        done = partial(self._started, name, newest, self._lost_image)
        self._starts[name] = context.request_queue.submit(start, done)

    def _files(self, config: Config) -> bytes | None:
        """A tar of what a worker finds in its volume. The token reaches it this way only."""
        self.token_expires = None
        if config.htcondor is None:
            return None
        token = read_token(config.htcondor.token_file, time())
        self.token_expires = expiry(token)
        return pack(token, user_of(config.worker))

    def _promise(self, name: str, body: dict[str, Any], settings: Settings, disk: int | None) -> None:
        """Have a pool member tell its pool what it may expect of it."""
        context = self._context
        ends = time() + lifetime_of(self._roster[name].worker, settings)
        if self.token_expires is not None:
            left = self.token_expires - time()
            until = self.token_expires - min(settings.finish_timeout, left / 2)
            self._roster.ends_at(name, until)
            body["Labels"][UNTIL] = repr(until)
            ends = min(ends, until)
        lost, life, speed = context.accounting.lost_part, self._roster.median_life, context.speed
        figures = speed.of(self._roster[name].worker.image)
        if not figures and speed.measurer not in self._roster:
            speed.ask(name, context.clock())
            body["Env"].append("PLANCTON_MEASURE=1")
        if died := self._roster.recently_died():
            body["Env"].append(f"PLANCTON_DIED={'|'.join(died)}")
        body["Env"] += promised(disk, ends, lost, life, figures)

    def cancel(self, name: str) -> bool:
        """Whether its start was still in the queue: then there is nothing to end."""
        start = self._starts.get(name)
        if start is None or not start.take():
            return False
        del self._starts[name]
        self._context.say(f"{name} is not started after all")
        self._removals.gone(name)
        return True

    def _not_started(self, name: str, error: PlanctonError | None) -> None:
        self._context.say(f"{name} can't be started: {error}")
        self._roster.failed(name, str(error), clock_gettime(CLOCK_BOOTTIME))

    def _started(
        self,
        name: str,
        image: str,
        lost_before: str,
        made: Container | Unstarted | None,
        error: DockerError | None,
    ) -> None:
        self._starts.pop(name, None)
        if isinstance(made, Unstarted):
            self._removals.discard(made.container)
            self._not_started(name, made.error)
        elif made is not None:
            entry = self._reconciler.arrived(made)
            if entry.worker.phase in (Phase.LEAVING, Phase.KILLED):  # retired while it was being created
                self._removals.remove(name, force=True)
        elif not self._has_lost_image(name, image, lost_before, error):
            self._not_started(name, error)
            self._context.trouble(error)

    def _has_lost_image(self, name: str, image: str, lost_before: str, error: DockerError | None) -> bool:
        """Somebody may have pulled a newer one by hand: that is no failure, unless the same one was
        missing when the start was asked for."""
        if not (isinstance(error, NotFound) and "no such image" in str(error).lower()):
            return False
        self._context.on_image_lost()
        if image == lost_before:
            return False
        self._lost_image = image
        self._context.say(f"{name} is not started: its image has just been replaced or removed")
        self._removals.gone(name)
        return True
