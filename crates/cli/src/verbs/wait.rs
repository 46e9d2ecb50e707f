//! `wait`: until objects are as wished, by watching them.

pub mod wish;

use crate::{
    console::Console,
    error::CliError,
    exit,
    globals::duration,
    progress::Progress,
    session::Session,
    subjects::{self, Subject, SubjectArgs},
    watching::{self, Watched},
};
use std::{ops::ControlFlow, time::Duration};
use tokio::time::Instant;
use wish::Wish;

/// A negative timeout means a week, as in kubectl.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "clap shows the documentation of the fields within"
    )]
    pub subjects: SubjectArgs,
    /// condition=NAME[=VALUE], jsonpath=PATH[=VALUE], create or delete.
    #[arg(long = "for", value_name = "WISH", value_parser = Wish::parse)]
    pub wish: Wish,
    /// Give up after this long; 0 looks once, a negative one waits for a week.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = limit, allow_hyphen_values = true)]
    pub timeout: Duration,
}

fn limit(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        Ok(WEEK)
    } else {
        duration(text)
    }
}

impl WaitArgs {
    pub(crate) async fn run(
        self,
        session: &Session,
        console: &mut Console,
    ) -> Result<u8, CliError> {
        let end = Instant::now() + self.timeout;
        let subjects = self.subjects.find(session, console).await?;
        if subjects.is_empty() {
            subjects::nothing_found(console, session, &self.subjects.select, true);
            return match self.wish {
                Wish::Gone => Ok(exit::OK),
                _ => Err(CliError::usage("no matching resources found")),
            };
        }
        let progress = Progress::new(console.terminal(), "waiting".to_owned());
        for subject in subjects {
            let shown = subject.shown();
            progress.set(format!("waiting for {shown}"));
            // Looking once still takes a look.
            let left = end
                .saturating_duration_since(Instant::now())
                .max(Duration::from_secs(1));
            if !self.fulfilled(session, &subject, left).await? {
                return Err(CliError::usage(format!(
                    "timed out waiting for the condition on {}/{}",
                    subject.resource.plural, subject.name
                )));
            }
            progress.pause(|| console.line(&format!("{shown} condition met")))?;
        }
        Ok(exit::OK)
    }

    async fn fulfilled(
        &self,
        session: &Session,
        subject: &Subject,
        left: Duration,
    ) -> Result<bool, CliError> {
        let watched = Watched {
            resource: subject.resource.clone(),
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
        };
        if !matches!(self.wish, Wish::Gone | Wish::Created) && subject.found.is_none() {
            // What does not exist is a mistake, not something to wait for.
            subject.get(session).await?;
        }
        let once = self.timeout.is_zero();
        let met = watching::until(session, &watched, Some(left), |object| {
            Ok(match self.wish.met(object) {
                Ok(true) => ControlFlow::Break(true),
                Ok(false) if once => ControlFlow::Break(false),
                Ok(false) => ControlFlow::Continue(()),
                Err(why) => return Err(CliError::usage(why)),
            })
        })
        .await?;
        Ok(met.unwrap_or(false))
    }
}
