//! `breakdown policy schema`.

use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
An editor that speaks the YAML language server completes and checks a policy by it. The file's first line says where it is:

    # yaml-language-server: $schema=policy.schema.json

    breakdown policy schema > policy.schema.json")]
pub(super) struct Schema {}

pub(super) fn run() -> ExitCode {
    say!("{}", ::policy::SCHEMA.trim_end());
    ExitCode::SUCCESS
}
