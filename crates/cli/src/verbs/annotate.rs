//! `annotate`.

use super::labelling::{Labelling, What};
use crate::{console::Console, error::CliError, session::Session};

/// Arguments of `annotate`.
#[derive(Debug, clap::Args)]
pub struct AnnotateArgs {
    /// Which objects, and KEY=VALUE to set or KEY- to remove.
    #[command(flatten)]
    pub labelling: Labelling,
}

impl AnnotateArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        self.labelling
            .run(What::Annotations, session, console)
            .await
    }
}
