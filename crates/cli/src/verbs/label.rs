//! `label`.

use super::labelling::{Labelling, What};
use crate::{console::Console, error::CliError, session::Session};

/// Arguments of `label`.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// Which objects, and KEY=VALUE to set or KEY- to remove.
    #[command(flatten)]
    pub labelling: Labelling,
}

impl LabelArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        self.labelling.run(What::Labels, session, console).await
    }
}
