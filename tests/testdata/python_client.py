"""The Python `kubernetes` package against a cluster: what an operator's script does. Ends with `done`, or with a traceback."""

import threading
import time

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
import json

DEADLINE_SECONDS = 60


def refused(code, reason, call, *arguments, **options):
    """`call` has to fail with this HTTP code and this reason of its Status."""
    try:
        call(*arguments, **options)
    except ApiException as error:
        status = json.loads(error.body)
        assert (error.status, status["reason"]) == (code, reason), (error.status, status)
        assert status["kind"] == "Status" and status["status"] == "Failure" and status["code"] == code, status
        return status
    raise AssertionError(f"{call.__name__} succeeded")


def eventually(what, probe):
    end = time.monotonic() + DEADLINE_SECONDS
    while not (value := probe()):
        assert time.monotonic() < end, f"{what}: not in time"
        time.sleep(0.05)
    return value


def create_read_update_delete(core):
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="py", labels={"made-by": "python"}), data={"a": "1"})
    made = core.create_namespaced_config_map("default", body)
    assert made.metadata.uid and made.metadata.resource_version and made.metadata.creation_timestamp, made
    assert core.read_namespaced_config_map("py", "default") == made

    status = refused(409, "AlreadyExists", core.create_namespaced_config_map, "default", body)
    assert status["message"] == 'configmaps "py" already exists', status
    assert status["details"] == {"name": "py", "kind": "configmaps"}, status

    made.data["a"] = "2"
    changed = core.replace_namespaced_config_map("py", "default", made)
    assert changed.data == {"a": "2"} and changed.metadata.resource_version != made.metadata.resource_version
    refused(409, "Conflict", core.replace_namespaced_config_map, "py", "default", made)

    generated = core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="py-")))
    assert generated.metadata.name.startswith("py-") and len(generated.metadata.name) == 8, generated.metadata.name
    listed = core.list_namespaced_config_map("default", label_selector="made-by=python")
    assert [item.metadata.name for item in listed.items] == ["py"], listed
    page = core.list_config_map_for_all_namespaces(limit=1)
    names = {(item.metadata.namespace, item.metadata.name) for item in page.items}
    while page.metadata._continue:
        page = core.list_config_map_for_all_namespaces(limit=1, _continue=page.metadata._continue)
        names |= {(item.metadata.namespace, item.metadata.name) for item in page.items}
    assert {("default", "py"), ("default", generated.metadata.name)} <= names, names

    core.delete_namespaced_config_map(generated.metadata.name, "default")
    # The package gives the answer of a delete as a plain dictionary.
    answer = core.delete_namespaced_config_map("py", "default")
    assert (answer if isinstance(answer, dict) else answer.to_dict())["status"] == "Success", answer
    status = refused(404, "NotFound", core.read_namespaced_config_map, "py", "default")
    assert status["message"] == 'configmaps "py" not found', status
    refused(404, "NotFound", core.create_namespaced_config_map, "nowhere", body)


def patches(core):
    core.create_namespaced_config_map("default", {"metadata": {"name": "patched"}, "data": {"keep": "1", "drop": "2"}})
    changed = core.patch_namespaced_config_map("patched", "default", {"data": {"drop": None, "new": "3"}})
    assert changed.data == {"keep": "1", "new": "3"}, changed.data
    changed = core.patch_namespaced_config_map("patched", "default", [{"op": "replace", "path": "/data/keep", "value": "9"}])
    assert changed.data == {"keep": "9", "new": "3"}, changed.data
    refused(422, "Invalid", core.patch_namespaced_config_map, "patched", "default", [{"op": "test", "path": "/data/keep", "value": "0"}])
    core.delete_namespaced_config_map("patched", "default")


def errors_name_every_field(core, apps):
    pod = {"metadata": {"name": "Bad_Name"}, "spec": {"containers": [{"name": "a", "image": ""}, {"name": "a", "image": "host"}]}}
    status = refused(422, "Invalid", core.create_namespaced_pod, "default", pod)
    causes = {(cause["reason"], cause["field"]) for cause in status["details"]["causes"]}
    expected = {
        ("FieldValueInvalid", "metadata.name"),
        ("FieldValueRequired", "spec.containers[0].image"),
        ("FieldValueDuplicate", "spec.containers[1].name"),
    }
    assert expected <= causes, causes
    deployment = {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}},
        },
    }
    status = refused(422, "Invalid", apps.create_namespaced_deployment, "default", deployment)
    assert "spec.template.metadata.labels" in status["message"], status


def watches(core):
    start = core.list_namespaced_config_map("default").metadata.resource_version
    seen = []

    def look():
        for event in watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=DEADLINE_SECONDS):
            if event["object"].metadata.name == "watched":
                seen.append((event["type"], event["object"].data))
            if event["type"] == "DELETED":
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    core.create_namespaced_config_map("default", {"metadata": {"name": "watched"}, "data": {"n": "1"}})
    core.patch_namespaced_config_map("watched", "default", {"data": {"n": "2"}})
    core.delete_namespaced_config_map("watched", "default")
    thread.join(DEADLINE_SECONDS)
    assert seen == [("ADDED", {"n": "1"}), ("MODIFIED", {"n": "2"}), ("DELETED", {"n": "2"})], seen


def deployments(core, apps):
    labels = {"app": "py-web"}
    container = client.V1Container(
        name="main",
        image="host",
        command=["sh", "-c", "echo version $VERSION; exec sleep infinity"],
        env=[client.V1EnvVar(name="VERSION", value="1")],
        resources=client.V1ResourceRequirements(requests={"cpu": "10m", "memory": "8Mi"}),
    )
    pod = client.V1PodSpec(containers=[container], termination_grace_period_seconds=1)
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=pod)
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template)
    made = apps.create_namespaced_deployment("default", client.V1Deployment(metadata=client.V1ObjectMeta(name="py-web"), spec=spec))
    assert made.spec.strategy.type == "RollingUpdate" and made.spec.progress_deadline_seconds == 600, made.spec

    def ready(replicas):
        found = apps.read_namespaced_deployment("py-web", "default")
        status = found.status
        settled = status.observed_generation == found.metadata.generation and status.updated_replicas == replicas
        return settled and status.replicas == status.ready_replicas == replicas

    eventually("two replicas", lambda: ready(2))
    apps.patch_namespaced_deployment_scale("py-web", "default", {"spec": {"replicas": 1}})
    assert apps.read_namespaced_deployment_scale("py-web", "default").spec.replicas == 1
    eventually("one replica", lambda: ready(1))

    def pods():
        found = core.list_namespaced_pod("default", label_selector="app=py-web").items
        return [item for item in found if not item.metadata.deletion_timestamp]

    first = eventually("one pod", lambda: (pods() if len(pods()) == 1 else None))[0]
    log = eventually("its log", lambda: core.read_namespaced_pod_log(first.metadata.name, "default"))
    assert log == "version 1\n", log
    lines = watch.Watch().stream(core.read_namespaced_pod_log, name=first.metadata.name, namespace="default")
    assert next(iter(lines)) == "version 1"
    refused(400, "BadRequest", core.read_namespaced_pod_log, first.metadata.name, "default", container="other")

    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "VERSION", "value": "2"}]}]}}}}
    apps.patch_namespaced_deployment("py-web", "default", patch)
    eventually("the rollout", lambda: ready(1) and [p for p in pods() if p.spec.containers[0].env[0].value == "2"])
    sets = apps.list_namespaced_replica_set("default", label_selector="app=py-web").items
    assert sorted(item.spec.replicas for item in sets) == [0, 1], sets
    assert all(item.metadata.owner_references[0].kind == "Deployment" for item in sets)

    apps.delete_namespaced_deployment("py-web", "default", propagation_policy="Foreground")
    eventually("everything is gone", lambda: not core.list_namespaced_pod("default", label_selector="app=py-web").items)
    # A foreground deletion ends with the owner, after the last of its pods.
    named = {"field_selector": "metadata.name=py-web"}
    eventually("the deployment is gone", lambda: not apps.list_namespaced_deployment("default", **named).items)
    refused(404, "NotFound", apps.read_namespaced_deployment, "py-web", "default")


def main():
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    version = client.VersionApi().get_code()
    assert (version.major, version.minor) == ("1", "36"), version
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "discovery.k8s.io", "node.k8s.io", "coordination.k8s.io"} <= groups, groups
    (node,) = core.list_node().items
    assert any(c.type == "Ready" and c.status == "True" for c in node.status.conditions), node.status
    create_read_update_delete(core)
    patches(core)
    errors_name_every_field(core, apps)
    watches(core)
    deployments(core, apps)
    print("done")


main()
