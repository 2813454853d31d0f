"""What all tests share."""

import http.server
import threading

import pytest
import torch
from hypothesis import settings

# the suite's tensors are small: one thread is faster than handing work to several
torch.set_num_threads(1)

# how long an example takes is no property of it: other processes may have the cores
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def subnormal_numbers():
    """Steps called in this process switch them off for all of it (hebae.base.device.set_up)."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def local_server(tmp_path):
    """A web server: its folder, its address ending in a slash, and the paths it was asked for."""
    folder = tmp_path / "server"
    folder.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_request(self, *args):
            asked.append(self.path.lstrip("/"))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()
        thread.join()
