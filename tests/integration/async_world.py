"""What stands around a server that infers asynchronously: S3, SNS and SQS on loopback, and boto3 on all sides."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
import numpy as np
from botocore.config import Config

from server.domain.inference import Array
from tests.integration.live_server import LiveServer
from tests.integration.until import until

ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)
JSON = "application/json"


class World:
    """Fresh buckets, and topics that lead to queues. Results go to `s3://<out>/results/`."""

    def __init__(self, endpoint_url: str, serial: int) -> None:
        session = boto3.session.Session(region_name="us-east-1")
        self.endpoint_url = endpoint_url
        self.s3 = session.client("s3", endpoint_url=endpoint_url, config=ONCE)
        self.sns = session.client("sns", endpoint_url=endpoint_url, config=ONCE)
        self.sqs = session.client("sqs", endpoint_url=endpoint_url, config=ONCE)
        self.inputs, self.out = f"inputs-{serial}", f"results-{serial}"
        for bucket in (self.inputs, self.out):
            self.s3.create_bucket(Bucket=bucket)
        self.success, self._successes = self._topic(f"success-{serial}")
        self.error, self._errors = self._topic(f"error-{serial}")

    def flags(self, *more: object) -> tuple[object, ...]:
        """What the server is started with."""
        topics = ("--async-success-topic", self.success, "--async-error-topic", self.error)
        places = ("--async-output", f"s3://{self.out}/results/", "--async-failures", f"s3://{self.out}/failures")
        return ("--s3-endpoint-url", self.endpoint_url, *places, *topics, "--engine", "embedded", *more)

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables of the server: SNS has no setting of its own."""
        return {"AWS_ENDPOINT_URL_SNS": self.endpoint_url}

    def put(self, key: str, body: bytes, content_type: str = JSON) -> str:
        """Write a payload; returns its address."""
        self.s3.put_object(Bucket=self.inputs, Key=key, Body=body, ContentType=content_type)
        return f"s3://{self.inputs}/{key}"

    def get(self, address: str) -> Any:
        """The object's answer once it is there."""
        bucket, _, key = address.removeprefix("s3://").partition("/")

        def found() -> Any:
            listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ())
            return any(item["Key"] == key for item in listed) and self.s3.get_object(Bucket=bucket, Key=key)

        return until(found, what=f"the object {address}")

    def written(self) -> list[str]:
        """Everything that the server wrote."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.out)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def successes(self, count: int) -> list[Any]:
        """So many messages of the success topic, and no more."""
        return self._messages(self._successes, count)

    def errors(self, count: int) -> list[Any]:
        """So many messages of the error topic, and no more."""
        return self._messages(self._errors, count)

    def close(self) -> None:
        """Close connections."""
        for client in (self.s3, self.sns, self.sqs):
            client.close()

    def _topic(self, name: str) -> tuple[str, str]:
        topic = self.sns.create_topic(Name=name)["TopicArn"]
        queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        return topic, queue

    def _messages(self, queue: str, count: int) -> list[Any]:
        found: list[Any] = []

        def all_there() -> bool:
            received = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            for message in received.get("Messages", ()):
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count and not received.get("Messages")

        until(all_there, what=f"{count} messages")
        return found


@contextmanager
def caller(server: LiveServer, target: str = "") -> Iterator[Any]:
    """A boto3 client of the server; `target` is sent as its documentation shows."""
    client = boto3.session.Session(region_name="us-east-1").client(
        "sagemaker-runtime", endpoint_url=server.base_url, config=ONCE
    )
    if target:

        def name_target(params: Any, **_: Any) -> None:
            params["headers"]["X-Amzn-SageMaker-Target-Model"] = target

        client.meta.events.register("before-call.sagemaker-runtime.InvokeEndpointAsync", name_target)
    try:
        yield client
    finally:
        client.close()


def request(inputs: Array) -> bytes:
    """A KServe request of FP32 [batch, features]."""
    tensor = {"name": "INPUT0", "shape": inputs.shape, "datatype": "FP32", "data": inputs.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def output(found: Any) -> Array:
    """OUTPUT0 of a result that was fetched from S3: FP32."""
    tensor = json.loads(found["Body"].read())["outputs"][0]
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])
