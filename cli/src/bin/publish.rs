//! `publish --topic issues --file F`: `breakdown publish` as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    breakdown::publish_main()
}
