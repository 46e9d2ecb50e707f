//! `api-resources`: every type of object that the server knows.

use crate::{console::Console, error::CliError, exit, output::table, session::Session};

/// Arguments of `api-resources`.
#[derive(Debug, clap::Args)]
pub struct ApiResourcesArgs {
    /// Only types that live in namespaces, or (=false) that do not.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub namespaced: Option<bool>,
    /// Only types of this group; the core group is the empty one.
    #[arg(long, value_name = "GROUP")]
    pub api_group: Option<String>,
    /// No headings.
    #[arg(long)]
    pub no_headers: bool,
    /// name prints only names; wide adds categories.
    #[arg(short, long, value_parser = ["name", "wide"])]
    pub output: Option<String>,
}

impl ApiResourcesArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let mut kinds = session.served().await?.0.clone();
        kinds.retain(|kind| {
            self.namespaced
                .is_none_or(|wanted| kind.namespaced == wanted)
        });
        kinds.retain(|kind| {
            self.api_group
                .as_ref()
                .is_none_or(|group| kind.group == *group)
        });
        kinds
            .sort_by(|left, right| (&left.group, &left.plural).cmp(&(&right.group, &right.plural)));
        if self.output.as_deref() == Some("name") {
            for kind in kinds {
                console.line(&kind.qualified_plural())?;
            }
            return Ok(exit::OK);
        }
        let wide = self.output.is_some();
        let mut headings = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
        if wide {
            headings.push("CATEGORIES");
        }
        let rows: Vec<Vec<String>> = kinds
            .iter()
            .map(|kind| {
                let mut row = vec![
                    kind.plural.clone(),
                    kind.short_names.join(","),
                    kind.api_version(),
                    kind.namespaced.to_string(),
                    kind.kind.clone(),
                ];
                if wide {
                    row.push(kind.categories.join(","));
                }
                row
            })
            .collect();
        console.print(&table::plain(&headings, &rows, !self.no_headers))?;
        Ok(exit::OK)
    }
}
