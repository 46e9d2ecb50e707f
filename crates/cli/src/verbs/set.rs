//! `set`: one field of objects, by what people call it.

use super::written::{self, DryRun, DryRunArgs};
use crate::{
    console::Console,
    error::CliError,
    exit, fields,
    output::OutputArgs,
    session::{Session, found},
    subjects::SubjectArgs,
};
use pontoon_client::api::Patch;
use serde_json::{Value, json};

/// Which field.
#[derive(Debug, clap::Subcommand)]
pub enum Set {
    /// The images of containers.
    Image(ImageArgs),
}

/// Arguments of `set image`.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {
    /// TYPE/NAME..., then CONTAINER=IMAGE...; * is every container.
    #[command(flatten)]
    pub subjects: SubjectArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub dry_run: DryRunArgs,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub output: OutputArgs,
}

impl Set {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let Self::Image(args) = self;
        args.run(session, console).await
    }
}

impl ImageArgs {
    async fn run(mut self, session: &Session, console: &mut Console) -> Result<u8, CliError> {
        let first = self
            .subjects
            .resources
            .iter()
            .position(|argument| argument.contains('='));
        let first = first.unwrap_or(self.subjects.resources.len());
        let images: Vec<(String, String)> = self
            .subjects
            .resources
            .split_off(first)
            .iter()
            .map(|argument| {
                argument
                    .split_once('=')
                    .filter(|(container, image)| !container.is_empty() && !image.is_empty())
                    .map(|(container, image)| (container.to_owned(), image.to_owned()))
                    .ok_or_else(|| CliError::usage(format!("{argument:?} is not CONTAINER=IMAGE")))
            })
            .collect::<Result<_, _>>()?;
        if images.is_empty() {
            return Err(CliError::usage("at least one image update is required"));
        }
        for subject in self.subjects.find(session, console).await? {
            let before = subject.get(session).await?;
            let Some(patch) = patch(&before.value, &images).map_err(CliError::usage)? else {
                continue;
            };
            let after = if self.dry_run.dry_run == DryRun::Client {
                before
            } else {
                let target = subject.resource.target(&subject.namespace, &subject.name);
                let options = session.write_options(self.dry_run.dry_run == DryRun::Server);
                let body = Patch::Strategic(patch.to_string().into());
                let response = session.client.patch(target, body, options).await?;
                written::warn(console, &response.warnings);
                found(&subject.resource, &response.object.unwrap_or_default())?
            };
            written::report(
                console,
                self.output.output.as_ref(),
                &[(after, "image updated")],
                self.dry_run.dry_run,
            )?;
        }
        Ok(exit::OK)
    }
}

/// What sets the images; none when they are set.
fn patch(object: &Value, images: &[(String, String)]) -> Result<Option<Value>, String> {
    let base = if object.pointer("/spec/template").is_some() {
        "/spec/template/spec"
    } else {
        "/spec"
    };
    let mut spec = json!({});
    let mut used = vec![false; images.len()];
    for list in ["initContainers", "containers"] {
        let mut changed = Vec::new();
        for container in fields::list(object, &format!("{base}/{list}")) {
            let name = fields::text(container, "/name");
            for (index, (wanted, image)) in images.iter().enumerate() {
                if wanted == name || wanted == "*" {
                    used[index] = true;
                    if fields::text(container, "/image") != image {
                        changed.push(json!({"name": name, "image": image}));
                    }
                }
            }
        }
        if !changed.is_empty() {
            spec[list] = changed.into();
        }
    }
    if let Some(unused) = used.iter().position(|used| !used) {
        return Err(format!(
            "unable to find container named {:?}",
            images[unused].0
        ));
    }
    if spec.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(None);
    }
    let spec = if base == "/spec" {
        json!({"spec": spec})
    } else {
        json!({"spec": {"template": {"spec": spec}}})
    };
    Ok(Some(spec))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn images_are_set_by_the_names_of_containers() {
        let web = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "web", "image": "a"}, {"name": "log", "image": "b"}]}}}});
        let set = |name: &str, image: &str| vec![(name.to_owned(), image.to_owned())];
        assert_eq!(
            patch(&web, &set("web", "a2")).unwrap().unwrap(),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "a2"}]}}}})
        );
        assert_eq!(patch(&web, &set("web", "a")), Ok(None));
        let all = patch(&web, &set("*", "c")).unwrap().unwrap();
        assert_eq!(
            fields::list(&all, "/spec/template/spec/containers").len(),
            2
        );
        assert_eq!(
            patch(&web, &set("none", "c")),
            Err("unable to find container named \"none\"".to_owned())
        );
    }
}
