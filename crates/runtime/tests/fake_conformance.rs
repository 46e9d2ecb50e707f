//! The fake passes the suite that every runtime passes.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use pontoon_runtime::conformance::Subject;
use pontoon_runtime::conformance::program::Program;
use pontoon_runtime::fake::FakeRuntime;
use pontoon_runtime::{ContainerId, Runtime};
use std::path::Path;
use std::sync::Arc;

struct FakeSubject {
    runtime: FakeRuntime,
    directory: tempfile::TempDir,
}

#[async_trait]
impl Subject for FakeSubject {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.runtime.clone())
    }

    async fn restart(&mut self) {}

    fn image(&self) -> String {
        "fake:1".to_owned()
    }

    fn command(&self, program: &Program) -> Vec<String> {
        program.scripted()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    async fn kill_supervisor(&mut self, _id: &ContainerId) -> bool {
        false
    }
}

async fn subject() -> FakeSubject {
    let runtime = FakeRuntime::new(Arc::new(jiff::Timestamp::now));
    FakeSubject {
        runtime,
        directory: tempfile::tempdir().unwrap(),
    }
}

pontoon_runtime::conformance_suite!(subject);
