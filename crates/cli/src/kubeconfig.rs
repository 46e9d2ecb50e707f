//! Where the kubeconfig is looked for: `--kubeconfig`, then KUBECONFIG, then the one that `pontoon dev`
//! writes, then kubectl's.

use crate::{
    error::CliError,
    globals::{Globals, Surroundings},
};
use pontoon_identity::Kubeconfig;
use std::path::PathBuf;

/// Reads the kubeconfig that the flags and the environment choose.
pub fn read(globals: &Globals, surroundings: &Surroundings) -> Result<Kubeconfig, CliError> {
    let places = places(globals, surroundings.variable);
    let context = globals.context.as_deref();
    match places {
        Places::Named(path) => Ok(Kubeconfig::read(&path, context)?),
        Places::Usual(paths) => match paths.iter().find(|path| path.exists()) {
            Some(path) => Ok(Kubeconfig::read(path, context)?),
            None => Err(CliError::NoKubeconfig { tried: paths }),
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Places {
    /// Somebody named it: another one would be a surprise.
    Named(PathBuf),
    /// The first that exists.
    Usual(Vec<PathBuf>),
}

fn places(globals: &Globals, variable: fn(&str) -> Option<String>) -> Places {
    if let Some(path) = &globals.kubeconfig {
        return Places::Named(path.clone());
    }
    if let Some(list) = variable("KUBECONFIG") {
        let mut paths: Vec<PathBuf> = list
            .split(':')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect();
        return if paths.len() == 1 {
            Places::Named(paths.remove(0))
        } else {
            Places::Usual(paths)
        };
    }
    let home = variable("HOME").map(PathBuf::from);
    let data = variable("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".local/share")));
    let ours = data.map(|data| data.join("pontoon/dev/admin.kubeconfig"));
    let kubectls = home.map(|home| home.join(".kube/config"));
    Places::Usual(ours.into_iter().chain(kubectls).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(kubeconfig: Option<&str>) -> Globals {
        Globals {
            kubeconfig: kubeconfig.map(PathBuf::from),
            context: None,
            namespace: None,
            request_timeout: None,
        }
    }

    #[test]
    fn the_flag_comes_before_the_environment() {
        let variable = |_: &str| Some("/elsewhere".to_owned());
        assert_eq!(
            places(&globals(Some("/named")), variable),
            Places::Named("/named".into())
        );
        assert_eq!(
            places(&globals(None), variable),
            Places::Named("/elsewhere".into())
        );
    }

    #[test]
    fn devs_kubeconfig_comes_before_kubectls() {
        let home = |name: &str| (name == "HOME").then(|| "/home/a".to_owned());
        assert_eq!(
            places(&globals(None), home),
            Places::Usual(vec![
                "/home/a/.local/share/pontoon/dev/admin.kubeconfig".into(),
                "/home/a/.kube/config".into()
            ])
        );
        let data = |name: &str| (name == "XDG_DATA_HOME").then(|| "/data".to_owned());
        assert_eq!(
            places(&globals(None), data),
            Places::Usual(vec!["/data/pontoon/dev/admin.kubeconfig".into()])
        );
    }
}
