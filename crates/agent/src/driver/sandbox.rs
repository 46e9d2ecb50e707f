//! The pod's sandbox: its network, its resolver's files, and everything's removal.

use super::{Driver, is_host_network, remove_tree};
use crate::container;
use crate::view::Place;
use k8s_openapi::api::core::v1::Pod;
use pontoon_api::name::PodUid;
use pontoon_dns::resolv::{self, ClusterDns, HostAlias, PodDnsConfig, Policy, ResolvConf};
use pontoon_lifecycle::Input;
use pontoon_runtime::{PodIdentity, SandboxSpec};

/// The domain of services' names until a server has said another.
const CLUSTER_DOMAIN_DEFAULT: &str = "cluster.local";

impl Driver {
    pub(super) async fn create_sandbox(&self, attempt: u32) -> Input {
        match self.try_create(attempt).await {
            Ok(place) => {
                let ips = place.ips.clone();
                *self.view.place.write() = place;
                Input::SandboxCreated { attempt, ips }
            }
            Err(message) => Input::SandboxFailed { attempt, message },
        }
    }

    async fn try_create(&self, attempt: u32) -> Result<Place, String> {
        let pod = self.snapshot().pod;
        if let Some(message) = self.handler_problem(&pod) {
            return Err(message);
        }
        if attempt > 0 {
            self.remove_sandboxes(Some(attempt)).await?;
        }
        let (place, logs) = tokio::join!(self.attach(&pod), self.make_logs());
        let place = place?;
        logs.map_err(|error| format!("{}: {error}", self.view.logs.display()))?;
        let spec = self.sandbox_spec(&pod, attempt, &place);
        let made = self.view.runtime.create_sandbox(&spec).await;
        let id = made.map_err(|error| error.to_string())?;
        *self.sandbox.lock() = Some(id);
        Ok(place)
    }

    async fn make_logs(&self) -> std::io::Result<()> {
        if self.view.runtime.uses_files() {
            tokio::fs::create_dir_all(&self.view.logs).await
        } else {
            Ok(())
        }
    }

    /// A pod whose RuntimeClass names a handler that this node has not is held back, never run by another.
    fn handler_problem(&self, pod: &Pod) -> Option<String> {
        let class = pod.spec.as_ref()?.runtime_class_name.as_ref()?;
        let references = self.snapshot().references;
        match references.handlers.get(class) {
            None => Some(format!("RuntimeClass \"{class}\" not found")),
            Some(handler) if !self.context.runtimes.contains_key(handler) => {
                Some(format!("no runtime for \"{handler}\" is configured"))
            }
            Some(handler) if handler != self.view.runtime.handler() => Some(format!(
                "the pod was begun by runtime \"{}\" and cannot move to \"{handler}\"",
                self.view.runtime.handler()
            )),
            Some(_) => None,
        }
    }

    fn sandbox_spec(&self, pod: &Pod, attempt: u32, place: &Place) -> SandboxSpec {
        let host_network = is_host_network(pod);
        let hostname = container::hostname(pod);
        SandboxSpec {
            pod: PodIdentity {
                namespace: self.view.pod.namespace.clone(),
                name: self.view.pod.name.clone(),
                uid: self.view.pod.uid.clone(),
            },
            attempt,
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            netns: place.netns.clone(),
            resolv_conf: Some(self.resolv_conf(pod, host_network)),
            hosts: (!host_network).then(|| self.hosts(pod, &hostname, place)),
            limits: container::pod_limits(pod),
            log_dir: self.view.logs.clone(),
            hostname,
        }
    }

    fn cluster_domain(&self) -> String {
        let settings = self.context.settings.read();
        let domain = settings.as_ref().map(|s| s.cluster_domain.clone());
        domain
            .filter(|domain| !domain.is_empty())
            .unwrap_or_else(|| CLUSTER_DOMAIN_DEFAULT.to_owned())
    }

    fn resolv_conf(&self, pod: &Pod, host_network: bool) -> String {
        let spec = pod.spec.as_ref();
        let policy = Policy::of(spec.and_then(|s| s.dns_policy.as_deref()), host_network);
        let cluster = ClusterDns {
            server: self.context.dataplane.dns_address(),
            domain: self.cluster_domain(),
        };
        let config = spec.and_then(|s| s.dns_config.as_ref());
        let config = config.map_or_else(PodDnsConfig::default, |config| PodDnsConfig {
            nameservers: config
                .nameservers
                .iter()
                .flatten()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
            searches: config.searches.clone().unwrap_or_default(),
            options: config
                .options
                .iter()
                .flatten()
                .filter_map(|option| Some((option.name.clone()?, option.value.clone())))
                .collect(),
        });
        let node = &self.context.resolv_conf;
        let namespace = &self.view.pod.namespace;
        ResolvConf::for_pod(policy, namespace, &cluster, node, &config).render()
    }

    fn hosts(&self, pod: &Pod, hostname: &str, place: &Place) -> String {
        let spec = pod.spec.as_ref();
        let subdomain = spec
            .and_then(|s| s.subdomain.as_deref())
            .filter(|s| !s.is_empty());
        let domain = subdomain.map(|subdomain| {
            let namespace = &self.view.pod.namespace;
            format!("{subdomain}.{namespace}.svc.{}", self.cluster_domain())
        });
        let aliases = spec
            .into_iter()
            .flat_map(|s| s.host_aliases.iter().flatten());
        let aliases: Vec<HostAlias> = aliases
            .filter_map(|alias| {
                Some(HostAlias {
                    ip: alias.ip.parse().ok()?,
                    hostnames: alias.hostnames.clone().unwrap_or_default(),
                })
            })
            .collect();
        resolv::hosts(&place.ips, hostname, domain.as_deref(), &aliases)
    }

    pub(super) async fn stop_sandbox(&self) -> Input {
        let id = self.sandbox.lock().clone();
        if let Some(id) = id
            && let Err(error) = self.view.runtime.stop_sandbox(&id).await
        {
            return Input::SandboxTeardownFailed {
                message: error.to_string(),
            };
        }
        match self.free().await {
            Ok(()) => Input::SandboxStopped,
            Err(message) => Input::SandboxTeardownFailed { message },
        }
    }

    /// Frees the pod's network and volumes.
    async fn free(&self) -> Result<(), String> {
        let uid = PodUid::new(&self.view.pod.uid);
        let detached = self.context.dataplane.detach(&uid).await;
        detached.map_err(|error| format!("network: {error}"))?;
        let directory = self.context.pod_directory(&self.view.pod.uid);
        remove_tree(&directory).await
    }

    pub(super) async fn remove_sandbox(&self) -> Input {
        match self.remove_everything().await {
            Ok(()) => Input::SandboxRemoved,
            Err(message) => Input::SandboxTeardownFailed { message },
        }
    }

    /// Removes all there is of the pod: sandboxes, containers, network, volumes, logs.
    pub(crate) async fn remove_everything(&self) -> Result<(), String> {
        self.remove_sandboxes(None).await?;
        self.free().await?;
        remove_tree(&self.view.logs).await
    }

    /// Removes the pod's sandboxes, but for the one of this attempt.
    async fn remove_sandboxes(&self, keep: Option<u32>) -> Result<(), String> {
        let runtime = &self.view.runtime;
        let inventory = runtime.list().await.map_err(|error| error.to_string())?;
        let uid = &self.view.pod.uid;
        let ours = inventory
            .sandboxes
            .into_iter()
            .filter(|s| s.pod.uid == *uid);
        for sandbox in ours.filter(|s| Some(s.attempt) != keep) {
            let removed = runtime.remove_sandbox(&sandbox.id).await;
            removed.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
