"""A real S3 API for tests: moto's server on 127.0.0.1, in a process of its own, gone when its starter is.

Run as a module it prints its port, and serves until its standard input ends.
"""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3  # type: ignore[import-untyped]

from storage.s3_blobs import Bucket

ROOT = Path(__file__).parent.parent


@contextmanager
def running_s3() -> Iterator[str]:
    """The address of an S3 store, until the block ends."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.moto_s3"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def new_bucket(endpoint: str) -> Bucket:
    """An empty bucket of its own, with the policy that docs/deployment.md gives."""
    bucket = Bucket(name=f"b-{uuid.uuid4().hex}", endpoint=endpoint, access_key="test", secret_key="test")
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name=bucket.region, aws_access_key_id="test", aws_secret_access_key="test"
    )
    client.create_bucket(Bucket=bucket.name)
    statement = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket.name}/public/*",
    }  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))
    client.close()
    return bucket


def _serve() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    _serve()
