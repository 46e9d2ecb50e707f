//! A container's environment, command and arguments, as kubelet makes them of the pod and what it refers to. Pure.

use crate::references::References;
use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, Pod,
    ResourceFieldSelector, Service,
};
use pontoon_api::quantity::Quantity;
use std::collections::BTreeMap;
use std::net::IpAddr;

mod links;

/// What a container needs is not there: it waits as `CreateContainerConfigError`, with this message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// In kubelet's words, for example `secret "keys" not found`.
    pub message: String,
}

impl ConfigError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// What the environment of a pod's containers is made of.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What it refers to.
    pub references: &'a References,
    /// The pod's addresses, the first is its `podIP`.
    pub pod_ips: &'a [IpAddr],
    /// The node's addresses, the first is its `hostIP`.
    pub host_ips: &'a [IpAddr],
    /// What a limit that is not set counts as: the node's allocatable cpu in thousandths of a core.
    pub node_cpu_millis: i64,
    /// What a limit that is not set counts as: the node's allocatable memory in bytes.
    pub node_memory_bytes: i64,
    /// The services that exist, for their variables.
    pub services: &'a [Service],
}

/// The whole environment in order; of two entries with one name the later counts.
///
/// # Errors
/// [`ConfigError`].
pub fn build(
    facts: &Facts<'_>,
    container: &Container,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Variables::default();
    let all = facts
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let namespace = facts.namespace();
    for (name, value) in links::of(facts.services, namespace, all) {
        variables.set(name, value);
    }
    for source in container.env_from.iter().flatten() {
        facts.env_from(source, &mut variables)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = facts.value(container, variable, &variables)? {
            variables.set(variable.name.clone(), value);
        }
    }
    Ok(variables.ordered)
}

/// Replaces `$(NAME)` by the variable's value; `$$` is a dollar sign, and what is not known stays as it is.
#[must_use]
pub fn expand(text: &str, variables: &[(String, String)]) -> String {
    let known: BTreeMap<&str, &str> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    expand_with(text, |name| known.get(name).copied())
}

fn expand_with<'v>(text: &str, known: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inside| inside.split_once(')'))
        {
            match known(name) {
                Some(value) => expanded.push_str(value),
                None => {
                    expanded.push_str("$(");
                    expanded.push_str(name);
                    expanded.push(')');
                }
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[derive(Default)]
struct Variables {
    ordered: Vec<(String, String)>,
    index: BTreeMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(index) => self.ordered[*index].1 = value,
            None => {
                self.index.insert(name.clone(), self.ordered.len());
                self.ordered.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let index = self.index.get(name)?;
        Some(self.ordered[*index].1.as_str())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Facts<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn env_from(
        &self,
        source: &EnvFromSource,
        variables: &mut Variables,
    ) -> Result<(), ConfigError> {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut add = |data: BTreeMap<&str, &[u8]>| {
            for (key, value) in data {
                let name = format!("{prefix}{key}");
                // A name that no program could read is left out, as kubelet does.
                if is_variable_name(&name) {
                    variables.set(name, text(value));
                }
            }
        };
        if let Some(wanted) = &source.config_map_ref {
            match self.references.config_maps.get(&wanted.name) {
                Some(map) => add(References::config_map_data(map)),
                None if wanted.optional == Some(true) => {}
                None => return Err(missing("configmap", &wanted.name)),
            }
        }
        if let Some(wanted) = &source.secret_ref {
            match self.references.secrets.get(&wanted.name) {
                Some(secret) => add(References::secret_data(secret)),
                None if wanted.optional == Some(true) => {}
                None => return Err(missing("secret", &wanted.name)),
            }
        }
        Ok(())
    }

    /// `None` when the variable is left out, because what it names is optional and not there.
    fn value(
        &self,
        container: &Container,
        variable: &EnvVar,
        known: &Variables,
    ) -> Result<Option<String>, ConfigError> {
        match &variable.value_from {
            None => {
                let value = variable.value.as_deref().unwrap_or_default();
                Ok(Some(expand_with(value, |name| known.get(name))))
            }
            Some(source) => self.value_from(container, source),
        }
    }

    fn value_from(
        &self,
        container: &Container,
        source: &EnvVarSource,
    ) -> Result<Option<String>, ConfigError> {
        if let Some(field) = &source.field_ref {
            return self.field(field).map(Some);
        }
        if let Some(resource) = &source.resource_field_ref {
            return self.resource(resource, Some(container)).map(Some);
        }
        if let Some(wanted) = &source.config_map_key_ref {
            let data = self
                .references
                .config_maps
                .get(&wanted.name)
                .map(References::config_map_data);
            let optional = wanted.optional == Some(true);
            return self.keyed("ConfigMap", &wanted.name, &wanted.key, data, optional);
        }
        if let Some(wanted) = &source.secret_key_ref {
            let data = self
                .references
                .secrets
                .get(&wanted.name)
                .map(References::secret_data);
            let optional = wanted.optional == Some(true);
            return self.keyed("Secret", &wanted.name, &wanted.key, data, optional);
        }
        Err(ConfigError::new(
            "this node knows no variable from a file: use fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef",
        ))
    }

    fn keyed(
        &self,
        kind: &str,
        name: &str,
        key: &str,
        data: Option<BTreeMap<&str, &[u8]>>,
        optional: bool,
    ) -> Result<Option<String>, ConfigError> {
        let Some(data) = data else {
            return if optional {
                Ok(None)
            } else {
                Err(missing(&kind.to_lowercase(), name))
            };
        };
        match data.get(key) {
            Some(value) => Ok(Some(text(value))),
            None if optional => Ok(None),
            None => Err(ConfigError::new(format!(
                "couldn't find key {key} in {kind} {}/{name}",
                self.namespace()
            ))),
        }
    }

    /// The value of a field of the pod: what `fieldRef` may name in variables and downward API files.
    ///
    /// # Errors
    /// [`ConfigError`] for a path that Kubernetes does not offer.
    pub fn field(&self, selector: &ObjectFieldSelector) -> Result<String, ConfigError> {
        let path = selector.field_path.as_str();
        let meta = &self.pod.metadata;
        let spec = self.pod.spec.as_ref();
        let keyed = |prefix: &str| {
            path.strip_prefix(prefix)?
                .strip_prefix("['")?
                .strip_suffix("']")
        };
        if let Some(key) = keyed("metadata.labels") {
            return Ok(lookup(meta.labels.as_ref(), key));
        }
        if let Some(key) = keyed("metadata.annotations") {
            return Ok(lookup(meta.annotations.as_ref(), key));
        }
        let joined = |ips: &[IpAddr]| {
            let all: Vec<String> = ips.iter().map(ToString::to_string).collect();
            all.join(",")
        };
        let first = |ips: &[IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
        Ok(match path {
            "metadata.name" => meta.name.clone().unwrap_or_default(),
            "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
            "metadata.uid" => meta.uid.clone().unwrap_or_default(),
            "metadata.labels" => listed(meta.labels.as_ref()),
            "metadata.annotations" => listed(meta.annotations.as_ref()),
            "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
            "spec.serviceAccountName" => spec
                .and_then(|s| s.service_account_name.clone())
                .unwrap_or_default(),
            "status.hostIP" => first(self.host_ips),
            "status.hostIPs" => joined(self.host_ips),
            "status.podIP" => first(self.pod_ips),
            "status.podIPs" => joined(self.pod_ips),
            _ => {
                return Err(ConfigError::new(format!("unsupported fieldPath: {path}")));
            }
        })
    }

    /// The value of a container's request or limit: what `resourceFieldRef` may name.
    ///
    /// # Errors
    /// [`ConfigError`] for a container or resource that is not there.
    pub fn resource(
        &self,
        selector: &ResourceFieldSelector,
        own: Option<&Container>,
    ) -> Result<String, ConfigError> {
        let named = selector.container_name.as_deref().filter(|n| !n.is_empty());
        let container = match named {
            None => own,
            Some(name) => self.pod.spec.iter().find_map(|spec| {
                let init = spec.init_containers.iter().flatten();
                init.chain(&spec.containers).find(|c| c.name == name)
            }),
        };
        let Some(container) = container else {
            return Err(ConfigError::new(format!(
                "container {} not found",
                named.unwrap_or_default()
            )));
        };
        let nanos = self.amount(container, &selector.resource)?;
        let divisor = selector.divisor.as_ref().map(|q| q.0.as_str());
        let divisor = divisor
            .and_then(|text| text.parse::<Quantity>().ok())
            .map(|q| q.nanos())
            .filter(|nanos| *nanos > 0)
            .unwrap_or(1_000_000_000);
        Ok(((nanos + divisor - 1) / divisor).to_string())
    }

    /// A request or limit in billionths; a limit that is not set is the node's allocatable.
    fn amount(&self, container: &Container, resource: &str) -> Result<i128, ConfigError> {
        let (list, name) = resource.split_once('.').unwrap_or(("", resource));
        let requirements = container.resources.as_ref();
        let limits = requirements.and_then(|r| r.limits.as_ref());
        let list = match list {
            "limits" => limits,
            "requests" => requirements.and_then(|r| r.requests.as_ref()).or(limits),
            _ => {
                return Err(ConfigError::new(format!(
                    "unsupported container resource : {resource}"
                )));
            }
        };
        let set = list
            .and_then(|list| list.get(name))
            .and_then(|q| q.0.parse::<Quantity>().ok())
            .filter(|q| !q.is_zero());
        if let Some(quantity) = set {
            return Ok(quantity.nanos());
        }
        let is_limit = resource.starts_with("limits.");
        match name {
            "cpu" if is_limit => Ok(Quantity::from_millis(self.node_cpu_millis).nanos()),
            "memory" if is_limit => Ok(Quantity::from_bytes(self.node_memory_bytes).nanos()),
            "cpu" | "memory" | "ephemeral-storage" => Ok(0),
            _ if name.starts_with("hugepages-") => Ok(0),
            _ => Err(ConfigError::new(format!(
                "unsupported container resource : {resource}"
            ))),
        }
    }
}

fn missing(kind: &str, name: &str) -> ConfigError {
    ConfigError::new(format!("{kind} \"{name}\" not found"))
}

fn lookup(map: Option<&BTreeMap<String, String>>, key: &str) -> String {
    map.and_then(|map| map.get(key))
        .cloned()
        .unwrap_or_default()
}

/// As the downward API writes labels and annotations: one `key="value"` a line, sorted.
fn listed(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    lines.join("\n")
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'=')
}

#[cfg(test)]
mod tests;
