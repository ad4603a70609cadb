"""The way between two regions: a TCP proxy that delays, throttles, cuts, resets. One for each (log, reader), in front of a listener of that
log's Kafka which advertises the proxy's port; the daemon of the reader gets a topology that names it. A region reaches its own Kafka directly.

    wan = c.wan["us", "eu"]           # how eu reads us's log
    wan.delay, wan.jitter = 0.15, 0.02   # seconds, each way
    wan.rate = 2e6                    # bytes a second, each way
    wan.cut("down")                   # nothing more comes from Kafka; what is under way arrives after heal(), as after a TCP retransmission
    wan.half_open()                   # connections that are open go silent for good, new ones work
    wan.reset()                       # connections that are open are reset
    wan.close_door(); wan.heal()      # new connections are refused; all is well again
"""
import collections
import random
import selectors
import socket
import struct
import threading
import time

WINDOW = 4 << 20  # bytes under way in one direction of a connection


class Pipe:
    """One direction of a connection."""

    def __init__(self, name, source, sink):
        self.name, self.source, self.sink = name, source, sink
        self.queue, self.held, self.free_at, self.last_due = collections.deque(), 0, 0.0, 0.0
        self.ended = False  # the source has


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.pipes = (Pipe("up", client, server), Pipe("down", server, client))
        self.silent = False

    def close(self, hard):
        for s in (self.client, self.server):
            if hard and s.fileno() >= 0:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()


class Wan:
    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.delay = self.jitter = 0.0
        self.rate = 0  # 0: no limit
        self.blocked, self.refusing = set(), False
        self.commands, self.lock = [], threading.Lock()
        self.bytes = collections.Counter()
        self.accepted = 0
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.random = random.Random(self.port)
        self.ending = False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    # ---- what a test says ----
    def cut(self, *directions):
        """"up" (to Kafka), "down" (from it); without one both."""
        self.blocked = set(directions or ("up", "down"))

    def heal(self):
        self.blocked, self.refusing = set(), False
        self.delay = self.jitter = self.rate = 0

    def close_door(self):
        self.refusing = True

    def half_open(self):
        self.command("silence")

    def reset(self):
        self.command("reset")

    def close(self):
        self.ending = True
        self.thread.join(10)

    def command(self, what):
        with self.lock:
            self.commands.append(what)

    # ---- the thread ----
    def work(self):
        selector = selectors.DefaultSelector()
        self.listener.setblocking(False)
        while not self.ending:
            self.obey()
            wait = self.watch(selector)
            for key, _ in selector.select(wait):
                if key.data is None:
                    self.accept()
                else:
                    self.take(*key.data)
            self.give()
        for connection in self.connections:
            connection.close(True)
        self.listener.close()
        selector.close()

    def obey(self):
        with self.lock:
            commands, self.commands = self.commands, []
        for what in commands:
            for connection in list(self.connections):
                if what == "silence":
                    connection.silent = True
                    connection.server.close()  # Kafka forgets it; the reader is not told
                else:
                    self.drop(connection, True)

    def watch(self, selector):
        """Registers what may be read now; how long nothing can happen otherwise."""
        for key in list(selector.get_map().values()):
            selector.unregister(key.fileobj)
        selector.register(self.listener, selectors.EVENT_READ, None)
        wait, now = 0.01, time.monotonic()
        for connection in self.connections:
            if connection.silent:
                continue
            for pipe in connection.pipes:
                if pipe.held < WINDOW and not pipe.ended:
                    selector.register(pipe.source, selectors.EVENT_READ, (connection, pipe))
                if pipe.queue and pipe.name not in self.blocked:
                    wait = min(wait, max(0.0, pipe.queue[0][0] - now))
        return wait

    def accept(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        self.accepted += 1
        try:
            if self.refusing:
                raise OSError
            server = socket.create_connection(self.target, 5)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        for s in (client, server):
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.append(Connection(client, server))

    def drop(self, connection, hard):
        if connection in self.connections:
            self.connections.remove(connection)
            connection.close(hard)

    def take(self, connection, pipe):
        if connection not in self.connections or connection.silent:
            return
        try:
            data = pipe.source.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            self.drop(connection, True)
            return
        now = time.monotonic()
        pipe.ended = not data
        pipe.free_at = max(pipe.free_at, now) + (len(data) / self.rate if self.rate else 0)
        pipe.last_due = max(pipe.last_due, pipe.free_at + self.delay + self.random.uniform(-self.jitter, self.jitter))
        pipe.queue.append((pipe.last_due, data))
        pipe.held += len(data)

    def give(self):
        now = time.monotonic()
        for connection in list(self.connections):
            for pipe in connection.pipes:
                if connection.silent or pipe.name in self.blocked:
                    continue
                while pipe.queue and pipe.queue[0][0] <= now and self.send(connection, pipe):
                    pass

    def send(self, connection, pipe):
        """True: the first piece has gone, all of it."""
        due, data = pipe.queue[0]
        if not data:
            self.drop(connection, False)
            return False
        try:
            n = pipe.sink.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self.drop(connection, True)
            return False
        pipe.held -= n
        self.bytes[pipe.name] += n
        if n < len(data):
            pipe.queue[0] = (due, data[n:])
            return False
        pipe.queue.popleft()
        return True
