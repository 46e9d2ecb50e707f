use clap::Parser;
use pontoon_cli::{Console, Globals, Surroundings, Verb};
#[derive(Parser)]
#[command(name = "pontoon")]
struct Line {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}
fn main() -> std::process::ExitCode {
    let line = Line::parse();
    let s = Surroundings {
        now: jiff::Timestamp::now,
        command: <Line as clap::CommandFactory>::command,
        version: "0.1.0",
        variable: |n| std::env::var(n).ok().filter(|v| !v.is_empty()),
    };
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let code = rt.block_on(pontoon_cli::run(
        line.verb,
        line.globals,
        &s,
        &mut Console::standard(),
    ));
    rt.shutdown_background();
    code
}
