#![allow(clippy::unwrap_used)]
use super::{Related, object};
use serde_json::{Value, json};

fn described(value: &Value, related: &Related) -> String {
    object(value, related, "2026-01-02T03:14:05Z".parse().unwrap())
}

#[test]
fn a_pod_reads_as_kubectl_describes_it() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web", "tier": "front"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": true}]},
        "spec": {"nodeName": "one", "serviceAccountName": "default", "containers": [{
            "name": "web", "image": "host", "command": ["web", "--port"], "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
            "env": [{"name": "A", "value": "b"}, {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": true}]}],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "podIP": "10.1.0.2", "podIPs": [{"ip": "10.1.0.2"}], "hostIP": "10.0.0.1",
            "startTime": "2026-01-02T03:04:05Z", "qosClass": "Burstable",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "web", "ready": true, "restartCount": 1,
                "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1,
                    "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:06Z"}}}]},
    });
    let events = vec![
        json!({"type": "Warning", "reason": "BackOff", "message": "restarting",
        "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:13:05Z", "count": 3,
        "source": {"component": "pontoon"}}),
    ];
    let expected = "\
Name:             web
Namespace:        default
Service Account:  default
Node:             one/10.0.0.1
Start Time:       Fri, 02 Jan 2026 03:04:05 +0000
Labels:           app=web
                  tier=front
Annotations:      <none>
Status:           Running
IP:               10.1.0.2
IPs:
  IP:           10.1.0.2
Controlled By:  ReplicaSet/web-abc
Containers:
  web:
    Container ID:  
    Image:         host
    Image ID:      
    Port:          80/TCP
    Host Port:     0/TCP
    Command:
      web
      --port
    State:          Running
      Started:      Fri, 02 Jan 2026 03:04:06 +0000
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
      Started:      Fri, 02 Jan 2026 03:04:05 +0000
      Finished:     Fri, 02 Jan 2026 03:04:06 +0000
    Ready:          True
    Restart Count:  1
    Limits:
      cpu:      1
      memory:   64Mi
    Readiness:  http-get http://:80/ delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment:
      A:  b
      S:  <set to the key 'k' in secret 's'>  Optional: false
    Mounts:
      /data from data (ro)
Conditions:
  Type    Status
  Ready   True 
Volumes:
  data:
    Type:        EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:      
    SizeLimit:   <unset>
QoS Class:       Burstable
Node-Selectors:  <none>
Tolerations:     node.kubernetes.io/not-ready:NoExecute op=Exists for 300s
Events:
  Type     Reason   Age                From     Message
  ----     ------   ----               ----     -------
  Warning  BackOff  60s (x3 over 10m)  pontoon  restarting
";
    let related = Related {
        events,
        ..Related::default()
    };
    assert_eq!(described(&pod, &related), expected);
}

#[test]
fn a_secret_shows_sizes_only() {
    let secret = json!({"kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "type": "Opaque",
        "data": {"password": "aHVudGVyMg=="}});
    let text = described(&secret, &Related::default());
    assert!(text.ends_with("Data\n====\npassword:  7 bytes\n"), "{text}");
    assert!(!text.contains("aHVudGVyMg"));
}

#[test]
fn a_deployment_tells_its_old_and_new_replica_sets() {
    let set = |name: &str, revision: &str, replicas: u32| {
        json!({"metadata": {"name": name, "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"uid": "u", "controller": true}]},
            "spec": {"replicas": replicas}, "status": {"replicas": replicas}})
    };
    let deployment = json!({"kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}},
        "status": {"replicas": 3, "updatedReplicas": 2}});
    let related = Related {
        replica_sets: vec![set("web-2", "10", 2), set("web-1", "9", 1)],
        ..Related::default()
    };
    let text = described(&deployment, &related);
    for line in [
        "Selector:               app=web\n",
        "Replicas:               3 desired | 2 updated | 3 total | 0 available | 0 unavailable\n",
        "RollingUpdateStrategy:  1 max unavailable, 25% max surge\n",
        "OldReplicaSets:    web-1 (1/1 replicas created)\n",
        "NewReplicaSet:     web-2 (2/2 replicas created)\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[test]
fn a_service_shows_the_endpoints_that_are_ready() {
    let service = json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}});
    let endpoint = |address: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}});
    let slice = json!({"ports": [{"port": 8080}], "endpoints": [
        endpoint("10.1.0.1", true), endpoint("10.1.0.2", false), endpoint("10.1.0.3", true),
        endpoint("10.1.0.4", true), endpoint("10.1.0.5", true)]});
    let related = Related {
        slices: vec![slice],
        ..Related::default()
    };
    let text = described(&service, &related);
    assert!(
        text.contains("10.1.0.1:8080,10.1.0.3:8080,10.1.0.4:8080 + 1 more..."),
        "{text}"
    );
}

#[test]
fn objects_of_any_shape_are_described() {
    for kind in [
        "Pod",
        "Deployment",
        "ReplicaSet",
        "Service",
        "Node",
        "Namespace",
        "ConfigMap",
        "Secret",
        "Lease",
    ] {
        assert!(
            !described(&json!({"kind": kind}), &Related::default()).is_empty(),
            "{kind}"
        );
        let odd = json!({"kind": kind, "metadata": [], "spec": {"containers": [1, null], "ports": [{}], "volumes": ["x"]}, "status": 3});
        assert!(!described(&odd, &Related::default()).is_empty(), "{kind}");
    }
}
