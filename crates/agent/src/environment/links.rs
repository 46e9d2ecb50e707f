//! The variables that tell a container where the services are: Kubernetes' own and those of Docker's links.

use k8s_openapi::api::core::v1::Service;

/// Name and value of each variable. Without `all` only those of the API server's own service.
pub(super) fn of(services: &[Service], namespace: &str, all: bool) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let own = service.metadata.namespace.as_deref().unwrap_or_default();
        let master = own == "default" && name == "kubernetes";
        if master || (all && own == namespace) {
            add(service, name, &mut variables);
        }
    }
    variables
}

fn add(service: &Service, name: &str, variables: &mut Vec<(String, String)>) {
    let Some(spec) = &service.spec else { return };
    let address = spec.cluster_ip.as_deref().unwrap_or_default();
    if address.is_empty() || address == "None" || spec.type_.as_deref() == Some("ExternalName") {
        return;
    }
    let prefix = variable_case(name);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let mut set =
        |suffix: String, value: String| variables.push((format!("{prefix}_{suffix}"), value));
    set("SERVICE_HOST".to_owned(), address.to_owned());
    set("SERVICE_PORT".to_owned(), first.port.to_string());
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let suffix = format!("SERVICE_PORT_{}", variable_case(name));
            set(suffix, port.port.to_string());
        }
    }
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        if index == 0 {
            set("PORT".to_owned(), url.clone());
        }
        let stem = format!("PORT_{}_{protocol}", port.port);
        set(stem.clone(), url);
        set(format!("{stem}_PROTO"), lower);
        set(format!("{stem}_PORT"), port.port.to_string());
        set(format!("{stem}_ADDR"), address.to_owned());
    }
}

fn variable_case(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
