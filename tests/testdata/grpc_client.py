"""`pontoon.v1` through Python's grpcio, with nothing but the server's own reflection. Ends with `done`, or with a traceback."""

import base64
import json
import os
import threading
import urllib.parse

import grpc
import yaml
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE_SECONDS = 60


class Service:
    """A gRPC service whose methods are found by reflection."""

    def __init__(self, channel, pool, name):
        self.descriptor = pool.FindServiceByName(name)
        self.channel = channel

    def __getattr__(self, name):
        method = self.descriptor.FindMethodByName(name)
        request, answer = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
        kind = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
        make = getattr(self.channel, kind[(method.client_streaming, method.server_streaming)])
        path = f"/{self.descriptor.full_name}/{name}"
        call = make(path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
        return lambda **fields: call(request(**fields), timeout=DEADLINE_SECONDS)


def connection():
    """The server's address, the cluster's authority, and the administrator's certificate and key, out of the kubeconfig."""
    document = yaml.safe_load(open(os.environ["KUBECONFIG"]))
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    address = urllib.parse.urlparse(cluster["server"]).netloc
    decode = base64.b64decode
    return address, decode(cluster["certificate-authority-data"]), decode(user["client-certificate-data"]), decode(user["client-key-data"])


def refused(code, reason, call, **fields):
    """`call` has to fail with this gRPC code, and with this reason in the Kubernetes Status of its trailer."""
    try:
        answer = call(**fields)
        # A stream fails when it is read.
        list(answer) if hasattr(answer, "__iter__") else None
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        status = json.loads(trailers["pontoon-status-bin"])
        assert error.code() == code, (error.code(), error.details())
        assert status["reason"] == reason and status["kind"] == "Status", status
        return status
    raise AssertionError("the call succeeded")


def target(resource, name="", namespace="default", group="", version="v1"):
    return {"group": group, "version": version, "resource": resource, "namespace": namespace, "name": name}


def config_map(name, **data):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}).encode()


def objects(service):
    made = service.Create(target=target("configmaps"), json=config_map("grpc", a="1")).object
    assert (made.kind, made.api_version, made.namespace, made.name) == ("ConfigMap", "v1", "default", "grpc"), made
    body = json.loads(made.json)
    assert body["metadata"]["uid"] == made.uid and body["metadata"]["resourceVersion"] == str(made.revision), body
    assert service.Get(target=target("configmaps", "grpc")) == made
    refused(grpc.StatusCode.ALREADY_EXISTS, "AlreadyExists", service.Create, target=target("configmaps"), json=config_map("grpc"))
    status = refused(grpc.StatusCode.NOT_FOUND, "NotFound", service.Get, target=target("configmaps", "nobody"))
    assert status["message"] == 'configmaps "nobody" not found' and status["code"] == 404, status

    body["data"]["a"] = "2"
    changed = service.Update(target=target("configmaps", "grpc"), json=json.dumps(body).encode()).object
    assert changed.revision > made.revision
    status = refused(
        grpc.StatusCode.ABORTED, "Conflict", service.Update, target=target("configmaps", "grpc"), json=json.dumps(body).encode()
    )
    assert status["code"] == 409, status
    assert json.loads(service.Get(target=target("configmaps", "grpc"), at_revision=made.revision).json)["data"] == {"a": "1"}
    patched = service.Patch(target=target("configmaps", "grpc"), type="TYPE_MERGE", patch=b'{"data":{"b":"3"}}').object
    assert json.loads(patched.json)["data"] == {"a": "2", "b": "3"}, patched
    refused(grpc.StatusCode.INVALID_ARGUMENT, "Invalid", service.Create, target=target("configmaps"), json=config_map("Bad Name"))

    page = service.List(target=target("configmaps"), limit=1)
    names = [item.name for item in page.items]
    while page.continue_token:
        page = service.List(target=target("configmaps"), limit=1, continue_token=page.continue_token)
        names += [item.name for item in page.items]
    assert names == sorted(names) and "grpc" in names, names
    deleted = service.Delete(target=target("configmaps", "grpc")).objects
    assert [item.name for item in deleted] == ["grpc"], deleted
    kinds = {(kind.group, kind.kind): kind for kind in service.Kinds().kinds}
    assert kinds[("apps", "Deployment")].short_names == ["deploy"] and not kinds[("", "Node")].namespaced, kinds


def apply_is_atomic(service):
    good = [config_map(f"atomic-{index}", n=str(index)) for index in range(3)]
    before = service.List(target=target("configmaps")).revision
    status = refused(
        grpc.StatusCode.INVALID_ARGUMENT, "Invalid", service.Apply, objects=[*good, config_map("Bad Name")], default_namespace="default"
    )
    assert "Bad Name" in status["message"], status
    assert not [item for item in service.List(target=target("configmaps")).items if item.name.startswith("atomic")]
    answer = service.Apply(objects=good, default_namespace="default")
    assert [result.action for result in answer.results] == [1, 1, 1], answer
    # One transaction is one revision.
    assert {result.object.revision for result in answer.results} == {answer.revision} and answer.revision > before, answer
    again = service.Apply(objects=good, default_namespace="default")
    assert [result.action for result in again.results] == [3, 3, 3], again
    changed = service.Apply(objects=[config_map("atomic-0", n="9"), good[1]], default_namespace="default")
    assert [result.action for result in changed.results] == [2, 3], changed
    service.Delete(target=target("configmaps"), label_selector="", field_selector="metadata.name=atomic-2")
    left = [item.name for item in service.List(target=target("configmaps")).items if item.name.startswith("atomic")]
    assert left == ["atomic-0", "atomic-1"], left


def watches(service):
    start = service.List(target=target("configmaps")).revision
    stream = service.Watch(target=target("configmaps"), from_revision=start)
    seen = []

    def look():
        for event in stream:
            seen.append((event.type, event.object.name, event.revision))
            if event.type == 3:
                stream.cancel()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    made = service.Create(target=target("configmaps"), json=config_map("watched")).object
    changed = service.Patch(target=target("configmaps", "watched"), type="TYPE_MERGE", patch=b'{"data":{"b":"3"}}').object
    service.Delete(target=target("configmaps", "watched"))
    thread.join(DEADLINE_SECONDS)
    assert [event[:2] for event in seen] == [(1, "watched"), (2, "watched"), (3, "watched")], seen
    assert [event[2] for event in seen[:2]] == [made.revision, changed.revision] and seen[2][2] > seen[1][2], seen


def strangers(address, authority):
    """Without a certificate nothing but health answers."""
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authority))
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=DEADLINE_SECONDS) == b"\x08\x01"
    kinds = channel.unary_unary("/pontoon.v1.Objects/Kinds")
    try:
        kinds(b"", timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
    else:
        raise AssertionError("a stranger was answered")


def main():
    address, authority, certificate, key = connection()
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, certificate))
    reflection = ProtoReflectionDescriptorDatabase(channel)
    services = set(reflection.get_services())
    assert {"pontoon.v1.Objects", "pontoon.v1.Pods", "pontoon.v1.Cluster", "grpc.health.v1.Health"} <= services, services
    pool = descriptor_pool.DescriptorPool(reflection)
    status = Service(channel, pool, "pontoon.v1.Cluster").Status()
    assert status.kubernetes_version.startswith("v1.36") and len(status.members) == 1 and status.members[0].voter, status
    service = Service(channel, pool, "pontoon.v1.Objects")
    objects(service)
    apply_is_atomic(service)
    watches(service)
    strangers(address, authority)
    print("done")


main()
