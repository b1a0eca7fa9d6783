"""A real S3 API on loopback (moto's server), with a client that writes to it as a deployer would."""

import itertools
from contextlib import contextmanager
from dataclasses import replace

import pytest
from moto.server import ThreadedMotoServer

from server.store.s3.options import S3Options

_SERIAL = itertools.count()


@contextmanager
def s3_server():
    """An endpoint URL; credentials are in the environment meanwhile, for boto3's default chain to find."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MOTO_S3_DEFAULT_MAX_KEYS": "7",
    }
    try:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            yield f"http://{host}:{port}"
    finally:
        server.stop()
        server._server.server_close()


class Bucket:
    """A fresh bucket, seen from the side that writes."""

    def __init__(self, endpoint_url, prefix="models"):
        self.options = S3Options(f"bucket-{next(_SERIAL)}", prefix, endpoint_url, attempts=1)
        self.client = self.options.client()
        self.client.create_bucket(Bucket=self.options.bucket)

    def key(self, name):
        return f"{self.options.prefix}/{name}" if self.options.prefix else name

    def put(self, name, content):
        self.client.put_object(Bucket=self.options.bucket, Key=self.key(name), Body=content)

    def put_folder(self, name, folder):
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, name):
        self.client.delete_object(Bucket=self.options.bucket, Key=self.key(name))

    def delete_folder(self, name):
        found = self.client.list_objects_v2(Bucket=self.options.bucket, Prefix=self.key(name) + "/")
        for item in found.get("Contents", ()):
            self.client.delete_object(Bucket=self.options.bucket, Key=item["Key"])

    def with_options(self, **changes):
        return replace(self.options, **changes)

    def close(self):
        self.client.close()
